"""From texts to fixed-length rows of tokens.

documents, chains ──tokens──▶ ids and loss spans ──plan──▶ pieces of rows ──job──▶ row shards
"""
