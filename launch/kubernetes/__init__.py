"""`ipt k8s render`: the manifests in `k8s/`, filled from a run's config."""
