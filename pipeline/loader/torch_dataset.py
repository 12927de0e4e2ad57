"""The stream of batches for PyTorch: alone, or in a `DataLoader` without workers.

The README has a whole training loop with it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.loader.stream import BatchStream

if TYPE_CHECKING:
    import torch

    Dataset = torch.utils.data.IterableDataset[dict[str, torch.Tensor]]
else:
    from torch.utils.data import IterableDataset as Dataset


class TorchBatches(Dataset):
    """Iterates over batches as dicts of tensors, see `Batch`; to be used with `batch_size=None`.

    `state_dict` and `load_state_dict` are the stream's, as torchdata's `StatefulDataLoader` takes
    them. It makes batches ahead of time in a thread of its own, so `num_workers=0` is enough.
    """

    def __init__(self, stream: BatchStream) -> None:
        """Iterate over `stream`."""
        self._stream = stream

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Go on from where the stream stands.

        Raises:
            RuntimeError: in a worker process, whose place nobody would know.
        """
        import torch

        if torch.utils.data.get_worker_info() is not None:
            raise RuntimeError(
                "TorchBatches in a DataLoader worker: use num_workers=0; the stream reads and "
                "makes batches ahead in threads"
            )
        for batch in self._stream:
            yield {
                name: torch.from_numpy(getattr(batch, name))
                for name in ("input_ids", "labels", "positions", "segment_ids", "source_ids")
            }

    def state_dict(self) -> dict[str, Any]:
        """See `BatchStream.state_dict`."""
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `BatchStream.load_state_dict`."""
        self._stream.load_state_dict(state)
