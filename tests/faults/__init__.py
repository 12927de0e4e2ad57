"""Random kills, and the proof that they made no difference.

python -m tests.faults --kills 50            a synthesis job on a Ray cluster
python -m tests.faults train --kills 20      a training on two ranks
python -m tests.faults hosts --kills 12      a whole run on three hosts that come and go
"""
