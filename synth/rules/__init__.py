"""The `rules` protocol: reading-comprehension tasks mined from raw text, without a model.

After AdaptLLM (Cheng et al. 2024, arXiv 2309.09530): what a text says outright about how its
sentences hang together ("therefore", "because", "in other words") is turned into tasks about it.

    text --sentences.py--> Passage --connections, causes, facts, layout--> candidates
         --mining.py: one random stream a text draws, builds and checks--> pairs

Connectives and phrasings are data: one file a language in `tables/`.
"""
