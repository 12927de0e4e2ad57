"""The data plane: contracts, storage, stages, ingest, packing, mixture, loader."""
