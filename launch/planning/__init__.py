"""What a run will ask for, before it starts: GPU-hours, wall time, storage, cost, bottlenecks."""
