"""The stream of batches for PyTorch: alone, or in a `DataLoader` without workers.

A whole training loop with it, which a test runs as it stands here:

    import json, torch
    from pipeline.loader.stream import open_stream
    from pipeline.loader.torch_dataset import TorchBatches

    stream = open_stream("runs/mine/rows", rows_per_batch=8, total_rows=240)  # s3://..., rank=
    model = torch.nn.Sequential(torch.nn.Embedding(50_000, 32), torch.nn.Linear(32, 50_000))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for batch in TorchBatches(stream):  # input_ids, labels, positions, segment_ids, source_ids
        logits = model(batch["input_ids"])
        labels = batch["labels"].long().flatten()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        json.dump(stream.state_dict(), open("data_state.json", "w"))  # load_state_dict resumes
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
