"""Pairs in another language or script than their text."""

import pytest

from pipeline.contracts import Pair
from synth.quality.config import LanguageConfig
from synth.quality.language import TextLanguage, identify_language, script_shares
from synth.quality.text_index import TextIndex
from synth.quality.words import PairWords

TEXTS = {
    "en": (
        "The lighthouse was built by an engineer from the capital. For thirty years it "
        "burned whale oil, and fishermen still steer by it at night when the sea is "
        "rough."
    ),
    "de": (
        "Der Leuchtturm wurde von einer Ingenieurin aus der Hauptstadt erbaut. Dreißig "
        "Jahre lang brannte er mit Walöl, und die Fischer richten sich noch heute "
        "nachts nach ihm."
    ),
    "fr": (
        "Le phare a été construit par une ingénieure de la capitale. Pendant trente "
        "ans, il a brûlé de l'huile de baleine, et les pêcheurs s'en servent encore la "
        "nuit."
    ),
    "es": (
        "El faro fue construido por una ingeniera de la capital. Durante treinta años "
        "quemó aceite de ballena, y los pescadores todavía se guían por él durante la "
        "noche."
    ),
    "ru": (
        "Маяк был построен инженером из столицы. Тридцать лет он горел на китовом "
        "жире, и рыбаки до сих пор ориентируются по нему ночью."
    ),
    "zh": (
        "这座灯塔是由一位来自首都的工程师建造的。三十年来它一直燃烧鲸油,渔民们至今仍在"
        "夜里靠它指引方向。每年都有许多游客来到这里参观。"
    ),
    "ja": (
        "この灯台は首都から来た技師によって建てられました。三十年間、鯨油を燃やしていま"
        "した。漁師たちは今でも夜になると、その光を頼りにしています。"
    ),
    "ko": (
        "이 등대는 수도에서 온 기술자가 지었습니다. 삼십 년 동안 고래기름을 태웠으며, "
        "어부들은 지금도 밤에 그 빛을 따라 항해합니다."
    ),
    "ar": (
        "بنى المنارة مهندس من العاصمة. وظلت ثلاثين عاما تحرق زيت الحوت، وما زال "
        "الصيادون يهتدون بها في الليل عندما يكون البحر هائجا."
    ),
}
QUESTIONS = {
    "en": ("What kind of fuel was used by the people who were working there for such a long time?"),
    "de": (
        "Welcher Brennstoff wurde von den Menschen, die dort so lange gearbeitet haben, verwendet?"
    ),
    "fr": ("Quel combustible utilisaient les personnes qui travaillaient là depuis si longtemps ?"),
    "es": (
        "¿Qué combustible utilizaban las personas que trabajaban allí desde hacía tanto tiempo?"
    ),
    "ru": "Какое топливо использовали люди, которые так долго там работали?",
    "zh": (
        "那些在那里工作了很长时间的人们当时使用的是哪一种燃料?请根据短文内容用一句话来"
        "回答这个问题好吗?谢谢。"
    ),
    "ja": (
        "そこで長い間働いていた人たちは、どのような燃料を使っていたのでしょうか。本文か"
        "ら答えてください。"
    ),
    "ko": ("그곳에서 오랫동안 일하던 사람들은 어떤 연료를 사용했습니까? 본문에서 찾아 답하십시오."),
    "ar": "ما نوع الوقود الذي كان يستخدمه الأشخاص الذين عملوا هناك لفترة طويلة؟",
}
SCRIPT = {"ru": "cyrillic", "zh": "han_kana", "ja": "han_kana", "ko": "hangul", "ar": "arabic"}


def verdict(text: str, pair: Pair, config: LanguageConfig | None = None) -> str:
    language = TextLanguage(TextIndex(text), config or LanguageConfig())
    return language.verdict(PairWords(pair))


@pytest.mark.parametrize("language", TEXTS)
def test_every_language_fits_its_own_text_and_no_other(language: str) -> None:
    fitting = [
        other for other in TEXTS if not verdict(TEXTS[other], Pair(QUESTIONS[language], "x"))
    ]
    assert fitting == [language]


@pytest.mark.parametrize("language", TEXTS)
def test_the_reason_names_script_before_language(language: str) -> None:
    found = verdict(TEXTS["en"], Pair("Who built it?", QUESTIONS[language]))
    expected = "script_mismatch" if language in SCRIPT else "language_mismatch"
    assert found == ("" if language == "en" else expected)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        (TEXTS["de"], Pair("Who?", "the engineer")),  # too short to tell
        (TEXTS["fr"], Pair("Who?", TEXTS["fr"][:60])),  # copied
        (TEXTS["en"], Pair("Translate the first sentence into German.", QUESTIONS["de"])),
        (TEXTS["de"], Pair("Übersetze den ersten Satz ins Englische.", QUESTIONS["en"])),
        (TEXTS["en"], Pair("Who wrote it?", "Giuseppe Verdi, Gioachino Rossini and G. Puccini")),
        (TEXTS["en"], Pair("Which germs?", "Streptococcus pneumoniae and Haemophilus influenzae")),
        (TEXTS["en"], Pair("How much?", "12,345.67 + 89.10 = 12,434.77 (0.5% of 2,486,954)")),
        ("", Pair(QUESTIONS["en"], QUESTIONS["de"])),  # no text to compare with
        ("x = 1; y = 2", Pair(QUESTIONS["en"], QUESTIONS["fr"])),
    ],
)
def test_unclear_pairs_stay(text: str, pair: Pair) -> None:
    assert verdict(text, pair) == ""


def test_a_text_that_holds_both_scripts_takes_both() -> None:
    product = Pair("这是什么品牌?", "iPhone Pro Max")
    assert verdict("苹果公司发布了 iPhone Pro Max 手机。", product) == ""
    assert verdict(TEXTS["zh"], product) == "script_mismatch"


def test_thresholds_are_what_the_config_says() -> None:
    pair = Pair("Wer?", QUESTIONS["fr"])
    assert verdict(TEXTS["de"], pair) == "language_mismatch"
    assert verdict(TEXTS["de"], pair, LanguageConfig(min_chars=200)) == ""


def test_identification_leaves_digits_aside() -> None:
    assert identify_language(TEXTS["fr"])[0] == "fr"
    assert identify_language("1871 " * 20 + TEXTS["fr"])[0] == "fr"


def test_script_shares_add_up() -> None:
    shares = script_shares("abc где 東京 123 !?")
    assert shares == {"latin": 3 / 8, "cyrillic": 3 / 8, "han_kana": 2 / 8}
    assert script_shares("123 !?") == {}
