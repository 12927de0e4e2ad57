"""Choose a drill."""

import sys

from tests.faults import hosts, synthesis, training

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["train", *options]:
            sys.exit(training.main(options))
        case ["hosts", *options]:
            sys.exit(hosts.main(options))
        case _:
            sys.exit(synthesis.main())
