"""Small texts in several languages, written for these tests, that hold every kind of task."""

RIVERS = {
    "en": (
        "Rivers and Their Deltas\n\n"
        "Rain fell on the mountains for a whole week. Therefore, the river left its banks before "
        "Sunday. The farmers drove their cattle to the hills because the meadows stood under "
        "water. The town had built a new dam in spring. However, the dam was far too low for such "
        "a flood. A delta is a plain of silt at the mouth of a river. The first dams in this "
        "valley were built in 1902. Several villages know the water well. For example, the old "
        "houses of Highfield stand on wooden piles. The long silence of the council led to great "
        "damage. The council trusted its old maps too much. In other words, nobody had looked at "
        "the river itself. In short, the town had learned nothing from earlier floods."
    ),
    "de": (
        "Flüsse und Deltas\n\n"
        "Der Regen fiel eine ganze Woche lang auf die Berge. Deshalb stieg der Fluss bis zum "
        "Wochenende über die Ufer. Die Bauern brachten ihr Vieh auf die Hügel, weil die Wiesen "
        "unter Wasser standen. Die Stadt hatte zwar einen neuen Damm gebaut. Aber der Damm war "
        "für ein solches Hochwasser zu niedrig. Ein Damm ist ein Bauwerk, das Wasser von Feldern "
        "und Häusern fernhält. Die ersten Dämme an diesem Fluss wurden im Jahr 1902 errichtet. "
        "Viele Orte am Fluss haben Erfahrung mit dem Wasser. Zum Beispiel stehen die alten Häuser "
        "in Hohenfeld auf Pfählen. Das lange Zögern der Behörden führte zu großen Schäden. Der "
        "Rat vertraute seinen alten Karten zu sehr. Mit anderen Worten: Niemand hatte sich den "
        "Fluss selbst angesehen. Kurz gesagt, die Stadt hatte aus alledem wenig gelernt."
    ),
    "fr": (
        "Les fleuves et leurs deltas\n\n"
        "La pluie est tombée pendant une semaine sur les montagnes. Par conséquent, le fleuve a "
        "débordé avant la fin du mois. Les paysans ont conduit le bétail sur les collines parce "
        "que les prés étaient sous l'eau. La ville avait pourtant construit une nouvelle digue. "
        "Mais la digue était trop basse pour une telle crue. Un delta est une plaine de limon à "
        "l'embouchure d'un fleuve. Les premières digues de la région ont été construites en 1902. "
        "Plusieurs villages connaissent bien les crues. Par exemple, les vieilles maisons de "
        "Hautchamp sont bâties sur pilotis. La lenteur des autorités a entraîné de graves "
        "dégâts. Le conseil se fiait trop aux vieilles cartes. Autrement dit, personne n'avait "
        "regardé le fleuve. En résumé, la ville avait très peu appris des crues."
    ),
    "es": (
        "Los ríos y sus deltas\n\n"
        "La lluvia cayó durante una semana sobre las montañas. Por lo tanto, el río se desbordó "
        "antes del fin de semana. Los campesinos llevaron el ganado a las colinas porque los "
        "prados estaban bajo el agua. La ciudad había construido un nuevo dique. Sin embargo, el "
        "dique era demasiado bajo para una crecida así. Un delta es una llanura de limo en la "
        "desembocadura de un río. Los primeros diques de la región se construyeron en 1902. "
        "Varios pueblos conocen bien las crecidas. Por ejemplo, las viejas casas de Campoalto se "
        "levantan sobre pilotes. La lentitud de las autoridades provocó graves daños en la "
        "ciudad. El consejo confiaba demasiado en los mapas. En otras palabras, nadie había "
        "mirado el río. En resumen, la ciudad no había aprendido nada."
    ),
}
CHINESE = (
    "黄河的治理\n\n连续一周的大雨使河水上涨。因此，沿河的村庄全部进入了戒备状态。当地政府修建了新的堤坝。"
    "但是，堤坝的高度仍然不足以抵挡洪水。第一座堤坝建于1902年，由当地农民修筑完成。许多村庄都有防洪的经验。"
    "例如，老房子大多建在高地上。总之，治理河流需要长期的投入和耐心。"
)
JAPANESE = (
    "川の治水\n\n一週間続いた大雨で川の水位が上がった。したがって、沿岸の村はすべて警戒態勢に入った。"
    "町は新しい堤防を建設した。しかし、堤防の高さは洪水を防ぐには足りなかった。"
    "最初の堤防は1902年に農民によって造られた。多くの村には水害の経験がある。"
)
POLISH = (
    "Rzeki i delty\n\nDeszcz padał przez cały tydzień w górach. Dlatego rzeka wystąpiła z brzegów "
    "i zalała łąki. Chłopi zaprowadzili bydło na wzgórza, ponieważ łąki były pod wodą. Pierwsze "
    "wały zostały zbudowane w 1902 roku przez mieszkańców."
)
LISTING = (
    "The toolbox of the dam keeper holds the following things:\n"
    "- a lamp with spare oil\n- a coil of tarred rope\n- a brass whistle\n\n"
    "The keeper checks the box every evening before the sun goes down."
)
GLOSSARY = (
    "Weir: a low wall across a river that raises the water behind it.\n"
    "Sluice: a gate that lets the water of a channel through or holds it back.\n"
    "Groyne: a wall built out from the bank to slow the current near it."
)
