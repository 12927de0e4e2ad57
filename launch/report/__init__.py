"""`ipt report`: one page about a run, for people.

figures.py        what is read of a run: stages, corpus sample, dropped examples, training
  stages.py         sidecars and manifests: how far each stage is, what it counted
  corpus.py         chains: corpus metrics, styles, example chains
  dropped.py        dropped records and pairs to read, some of each reason
  training.py       losses and speed over steps, held-out losses
sections.py       what the page says, from the figures of a run and of a baseline
  charts.py         charts as plotly specs
  wording.py        numbers and texts for people
page.py           sections into HTML (page.html.j2, page.css, page.js)
"""
