"""Errors of all stages, and so how the command line ends: 2 for what the user has to mend."""


class InputError(ValueError):
    """Input, config or leftovers that cannot be used: value found, rule, remedy."""


class DamagedInputError(InputError):
    """An input file is truncated or corrupt; names the file and the offset."""


class StaleStageError(InputError):
    """A stage folder was written by another config, other inputs or another contract version."""

    def __init__(self, message: str, fields: list[str], has_grown: bool = False) -> None:
        """Keep the names of the fields that differ, such as `config.seq_len`.

        Args:
            message: for people.
            fields: names of what differs.
            has_grown: nothing does but inputs to which parts were added.
        """
        super().__init__(message)
        self.fields, self.has_grown = fields, has_grown


class JobFailedError(Exception):
    """A worker failed at something that is not the user's input; running again may help."""


class StoppedError(Exception):
    """A stage was asked to stop, and did so in order; running again goes on."""


class BusyError(JobFailedError):
    """Another process is working in the same folder; once it has ended, the folder is free."""
