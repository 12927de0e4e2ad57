"""Which source every row of a run comes from.

[mixture] ──config──▶ rules ──planning──▶ pieces of weights ──schedule──▶ source and draw of row n
                                                ▲
                 losses ──online──▶ dated events ┘
"""
