"""Settings of the synthesis stage."""

from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config import StrictConfig
from synth.quality.config import ChecksConfig, CorpusDedupConfig
from synth.rules.config import RulesConfig


class OpenAIConfig(StrictConfig):
    """`openai` only: a server that speaks OpenAI's protocol (vLLM, SGLang, llama.cpp, a vendor)."""

    base_url: str = "http://localhost:8000/v1"
    """Where the server is."""
    model: str = ""
    """Name under which it serves the model; empty: `synth.model`, whose tokenizer is used here."""
    api_key_env: str = Field(default="OPENAI_API_KEY", pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Environment variable that holds the key, in capitals; the key itself belongs in no file."""
    endpoint: Literal["token_ids", "text", "chat"] = "token_ids"
    """`token_ids`: completions of exactly our tokens (vLLM); `text`: completions of the same as
    text; `chat`: chat completions, for servers that have nothing else (protocol `chat` only)."""
    max_retries: int = Field(default=6, ge=0)
    """Tries after the first, with exponential backoff and jitter, where the server fails or cannot
    be reached, before it counts as dead. One that is busy is asked again until it answers, when its
    `Retry-After` says."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Longest wait for one reply."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Rate limit of one worker; none: no limit."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Rate limit of one worker: prompt tokens and the most that may be written."""


class FakeConfig(StrictConfig):
    """`fake` only: what drills need."""

    delay_s: float = Field(default=0.0, ge=0)
    """Seconds each request takes."""
    faults: dict[str, Literal["die", "hang", "exhaust_memory"]] = Field(default_factory=dict)
    """What happens to the engine's process when a prompt holds one of these words."""


class EngineConfig(StrictConfig):
    """How the synthesizer runs; decides speed, not content, and may change between restarts."""

    kind: Literal["vllm", "openai", "fake"] = "vllm"
    """`vllm`: in-process async engine; `openai`: a server elsewhere; `fake`: deterministic text
    without a model, for drills."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Weight and activation type; `auto`: the model's own, but `float32` on an x86 CPU without
    AVX-512, which would have to emulate bfloat16 at a third of the speed."""
    max_num_seqs: int = Field(default=256, ge=1)
    """Requests the engine batches at once; with `openai`, requests in flight."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """Accelerators that share each layer of one engine; they must be on one node."""
    pipeline_parallel_size: int = Field(default=1, ge=1)
    """Groups of accelerators that share the layers of one engine; all on one node."""
    speculative_tokens: int = Field(default=0, ge=0, le=32)
    """Tokens guessed ahead from n-grams of the prompt, which responses often copy; 0: none."""
    kv_cache_gib: int = Field(default=4, ge=1)
    """KV cache on a CPU engine, in GiB."""
    cpu_threads: int | None = Field(default=None, ge=1)
    """Threads of a CPU engine; none: one a core. With fewer, cores are left to all else on the
    machine, which then does not slow the engine."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """Share of an accelerator's memory for the engine; none: 0.9 of the share `workers.gpus`."""
    enforce_eager: bool = False
    """Skip graph capture and compilation; always on without an accelerator."""
    start_timeout_s: float = Field(default=1800.0, gt=0)
    """An engine that is not up by then is killed and started anew."""
    hang_timeout_s: float = Field(default=300.0, gt=0)
    """An engine with requests and no sign of life for so long is killed and started anew."""
    openai: OpenAIConfig = OpenAIConfig()
    """The server."""
    fake: FakeConfig = FakeConfig()
    """Drills."""

    @model_validator(mode="after")
    def _threads_of_one_engine_process(self) -> "EngineConfig":
        if self.cpu_threads is not None and self.num_accelerators > 1:
            raise ValueError(
                f"cpu_threads ({self.cpu_threads}) is for an engine of one process, and "
                f"tensor_parallel_size x pipeline_parallel_size makes it {self.num_accelerators}; "
                f"leave it out and say with VLLM_CPU_OMP_THREADS_BIND which cores each takes"
            )
        return self

    @property
    def uses_chat_endpoint(self) -> bool:
        """Whether prompts travel as conversations."""
        return self.kind == "openai" and self.openai.endpoint == "chat"

    @property
    def num_accelerators(self) -> int:
        """Accelerators of one engine."""
        return self.tensor_parallel_size * self.pipeline_parallel_size


class WorkersConfig(StrictConfig):
    """The Ray actor pool: one engine an actor. What is left out follows from the cluster."""

    min: int = Field(default=1, ge=1)
    """Actors that stay until the last part is done; beyond them, one with nothing left to do ends,
    which frees its accelerator."""
    max: int | None = Field(default=None, ge=1)
    """Actors that the pool may grow to; none: one for each accelerator (or group of them that an
    engine takes) of the cluster, without accelerators one for each node, and more as nodes join."""
    gpus: float | None = Field(default=None, ge=0)
    """Accelerators of an actor, below 1 a share of one; none: as many as its engine takes, 0 where
    the cluster has none."""
    cpus: float = Field(default=1, gt=0)
    """CPU slots of an actor."""
    accelerator_type: str = ""
    """Only on nodes with this accelerator, as Ray names it (`H100`); empty: on any."""
    resources: dict[str, float] = Field(default_factory=dict)
    """Custom Ray resources that an actor takes, to choose among unlike nodes."""
    parts_in_flight: int | None = Field(default=None, ge=1)
    """Parts an actor works on at once, so that the engine never drains at a part's end; none: as
    many as fill the engine, and one more."""

    @model_validator(mode="after")
    def _ordered(self) -> "WorkersConfig":
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) must not exceed max ({self.max})")
        return self


class FilterConfig(StrictConfig):
    """What pairs have to stand over the whole corpus; settings here cost no new synthesis."""

    checks: ChecksConfig | None = None
    """The checks of synthesis again, with thresholds of their own; none: those verdicts stand."""
    corpus_dedup: CorpusDedupConfig = CorpusDedupConfig()
    """Near duplicates across documents."""

    @model_validator(mode="after")
    def _without_engine(self) -> "FilterConfig":
        if self.checks is not None and self.checks.round_trip.enabled:
            raise ValueError("round_trip needs the engine: set it in synth.checks")
        return self


class SynthConfig(StrictConfig):
    """What is asked of the synthesizer, and on what it runs."""

    model: str = ""
    """Model folder, hub name, `.gguf` file or `package://NAME/FILE.gguf`; `rules` needs none."""
    revision: str = ""
    """Branch, tag or commit of a hub model; empty: its default."""
    protocol: Literal["tuned", "chat", "rules"] = "tuned"
    """`tuned`: the published wire format; `chat`: any instruct model, prompted in task styles;
    `rules`: tasks mined from the text itself, without a model."""
    styles: dict[str, float] = Field(default_factory=dict)
    """`chat` only: share of documents by task style; empty: all styles, by the weights in them."""
    style_folder: str = ""
    """`chat` only: folder of task styles of your own, beside those in `synth/styles/`."""
    style_seed: int = 0
    """`chat` only: seed of the draw of styles."""
    constrained: bool = True
    """`chat` only: the engine lets the model write nothing but JSON of the style's schema."""
    attempts: int = Field(default=1, ge=1, le=16)
    """Tries a document gets while no pair about it survives; each draws style and sampling anew."""
    checks: ChecksConfig = ChecksConfig()
    """What a pair has to stand before it is kept."""
    rules: RulesConfig = RulesConfig()
    """`rules` only: what is mined."""
    shots_per_chain: int = Field(default=2, ge=1, le=64)
    """Documents of a chain (the paper's M rounds)."""
    max_new_tokens: int = Field(default=400, ge=8)
    """Tokens the synthesizer may write about one document."""
    max_model_len: int = Field(default=4096, ge=64)
    """Context window: prompt and new tokens."""
    temperature: float = Field(default=0.0, ge=0)
    """0: greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling."""
    repetition_penalty: float = Field(default=1.0, gt=0)
    """1: none."""
    trust_remote_code: bool = False
    """Run code that ships with the model."""
    journal: bool = False
    """Keep the finished chains of unfinished parts, some seconds' worth at a time, so that a kill
    costs no more than those."""
    stop_grace_s: float = Field(default=60.0, ge=0)
    """After SIGTERM or Ctrl-C, parts in flight may take so long to finish; what is left is
    abandoned, and written by the next start."""
    engine: EngineConfig = EngineConfig()
    """How the synthesizer runs."""
    workers: WorkersConfig = WorkersConfig()
    """The actor pool."""

    @model_validator(mode="after")
    def _room_for_a_prompt(self) -> "SynthConfig":
        if self.max_new_tokens * 2 > self.max_model_len:
            raise ValueError(
                f"max_new_tokens ({self.max_new_tokens}) must be at most half of "
                f"max_model_len ({self.max_model_len}), or no room is left for the text"
            )
        return self

    @model_validator(mode="after")
    def _room_for_an_engine(self) -> "SynthConfig":
        gpus, takes = self.workers.gpus or 0, self.engine.num_accelerators
        if takes > 1 and 0 < gpus < takes:
            raise ValueError(
                f"workers.gpus ({gpus:g}) must be at least {takes}, which engine's "
                f"tensor_parallel_size x pipeline_parallel_size takes; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _protocol_has_what_it_needs(self) -> "SynthConfig":
        if self.protocol != "rules" and not self.model:
            raise ValueError(f"protocol {self.protocol!r} needs synth.model; only 'rules' has none")
        if self.protocol == "rules" and self.checks.round_trip.enabled:
            raise ValueError(
                "checks.round_trip needs a model, which protocol 'rules' does not have"
            )
        if self.protocol == "tuned" and self.engine.uses_chat_endpoint:
            raise ValueError(
                "engine.openai.endpoint 'chat' wraps prompts in a chat template, which a tuned "
                "synthesizer was not trained on; use endpoint 'token_ids' or 'text'"
            )
        if self.attempts > 1 and self.protocol == "tuned" and self.temperature == 0:
            raise ValueError(
                f"attempts ({self.attempts}) with temperature 0 would write the same again; "
                f"set synth.temperature above 0"
            )
        return self

    def content_fields(self) -> dict[str, Any]:
        """The settings that decide what is written, as opposed to how fast."""
        fields = self.model_dump(exclude={"engine", "workers", "journal", "stop_grace_s"})
        fields |= {"engine": self.engine.kind, "dtype": self.engine.dtype}
        if self.engine.kind == "openai":
            fields["served"] = self.engine.openai.model or self.model
        return fields
