"""Choose a drill."""

import sys

from tests.faults import synthesis, training

if __name__ == "__main__":
    is_training = sys.argv[1:2] == ["train"]
    sys.exit(training.main(sys.argv[2:]) if is_training else synthesis.main())
