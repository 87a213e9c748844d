"""Names of other frameworks' configurations, and what parc has in their place.

Those of Hugging Face's `config.json` and `Trainer`, Megatron-LM, torchtitan, DeepSpeed and nanoGPT.
"""

from __future__ import annotations

from parc.named_tuple import NamedTuple


class Equivalent(NamedTuple):
    """Where parc has what a foreign name says. `same`: the value is the same, so the name can be replaced."""

    path: str  # of the block and the key, as in docs/language.md
    help: str = ""  # where the value differs

    @property
    def same(self) -> bool:
        return not self.help


_SAME = {
    "model.shape.layers": "num_hidden_layers num_layers n_layers n_layer nlayers depth",
    "model.shape.hidden": "hidden_size d_model n_embd dim embed_dim model_dim",
    "model.shape.heads": "num_attention_heads num_heads n_heads n_head",
    "model.shape.kv_heads": "num_key_value_heads num_kv_heads n_kv_heads num_query_groups",
    "model.shape.head_dim": "kv_channels head_size d_head",
    "model.shape.ffn": "moe_intermediate_size moe_ffn_hidden_size moe_inter_dim expert_ffn expert_dim",
    "model.shape.shared_ffn": "shared_expert_intermediate_size moe_shared_expert_intermediate_size",
    "model.shape.dense_layers": "first_k_dense_replace n_dense_layers num_dense_layers",
    "model.shape.gated": "swiglu gated_linear_unit glu",
    "model.shape.experts": (
        "num_experts num_local_experts n_routed_experts num_routed_experts n_experts num_moe_experts"
        " moe_num_experts"
    ),
    "model.shape.top_k": (
        "num_experts_per_tok num_experts_per_token moe_router_topk router_topk moe_top_k moe_topk topk"
        " n_activated_experts experts_per_token"
    ),
    "model.shape.vocab": "vocab_size n_vocab padded_vocab_size",
    "train.batch.sequences": "global_batch_size train_batch_size gbs",
    "train.batch.length": "seq_len seqlen seq_length sequence_length block_size context_length",
    "train.batch.microbatches": (
        "num_microbatches n_microbatches num_micro_batches micro_batches gradient_accumulation_steps"
        " grad_accumulation_steps"
    ),
    "train.steps": (
        "train_iters max_steps total_steps num_steps train_steps training_steps max_iters iterations"
    ),
    "train.seed": "random_seed",
    "train.adamw.lr": "learning_rate",
    "train.adamw.beta1": "adam_beta1",
    "train.adamw.beta2": "adam_beta2",
    "train.adamw.eps": "adam_eps adam_epsilon epsilon",
    "train.adamw.weight_decay": "wd",
    "train.adamw.clip": "clip_grad grad_clip max_grad_norm max_norm gradient_clipping clip_grad_norm",
    "train.adamw.warmup": "warmup_steps warmup_iters lr_warmup_iters lr_warmup_steps num_warmup_steps",
    "train.adamw.decay": "lr_decay_style lr_scheduler_type lr_scheduler decay_type lr_schedule",
    "train.adamw.min_lr": "lr_min end_lr min_learning_rate",
    "train.loss.balance": (
        "router_aux_loss_coef aux_loss_coef aux_loss_alpha moe_aux_loss_coeff aux_loss_coeff"
        " load_balance_coeff aux_loss_weight"
    ),
    "train.loss.ignore_index": "ignore_id ignore_label",
    "train.precision.compute": "dtype torch_dtype mixed_precision mixed_precision_param compute_dtype",
    "train.precision.master": "master_dtype main_params_dtype",
    "train.precision.gradients": "main_grads_dtype grad_accum_dtype",
    "train.precision.reduce": (
        "reduce_dtype mixed_precision_reduce communication_data_type grad_reduce_dtype grad_reduce_in_fp32"
    ),
    "train.precision.moments": "exp_avg_dtype exp_avg_sq_dtype state_dtype",
    "train.precision.keep_fp32": "keep_in_fp32_modules _keep_in_fp32_modules moe_router_dtype fp32_modules",
    "train.approximate.capacity": "capacity_factor moe_expert_capacity_factor moe_capacity_factor",
    "plan.recompute": (
        "recompute_granularity activation_checkpoint activation_checkpointing gradient_checkpointing"
        " selective_ac_option"
    ),
    "plan.data.shard": "zero_stage zero sharding sharding_strategy",
    "plan.tensor.sequence": "sequence_parallel use_sp",
    "plan.pipeline.schedule": "pipeline_parallel_schedule pp_schedule pipeline_schedule",
    "plan.pipeline.chunks": (
        "virtual_pipeline_model_parallel_size virtual_pipeline_size num_model_chunks n_chunks vpp"
    ),
    "machine.device.compute": "peak_flops flops tflops",
    "machine.device.memory": "vram hbm mem memory_size memory_gb",
    "machine.device.memory_bandwidth": "hbm_bandwidth mem_bandwidth memory_bw",
    "machine.link.bandwidth": "bw",
}
_SIZE = "parc takes the number of microbatches: sequences / (sequences of a microbatch x data ranks)"
_SHARD = (
    "`data over [..] { shard = optimizer }` shards optimizer states (ZeRO-1), `shard = gradients` gradients "
    "as well (ZeRO-2), `shard = parameters` all (FSDP); `shard_over = [..]` is a part of the axes (HSDP)"
)
_LEVELS = "`levels = [fabric: 16, node: 8]` of a `cluster` means 16 nodes of 8 devices"
_AXIS = "`mesh = [{axis}: N]` of a plan names an axis of N ranks, and `{strategy} over [{axis}]` uses it"
_OTHER = {
    "train.batch.microbatches": {
        _SIZE: (
            "micro_batch_size microbatch_size local_batch_size per_device_train_batch_size mbs"
            " train_micro_batch_size_per_gpu device_batch_size"
        )
    },
    "model.shape.shared_ffn": {
        "`shared_ffn` of the `shape` of a model is the inner size of all shared experts together": (
            "n_shared_experts num_shared_experts"
        )
    },
    "train.precision.compute": {"`precision { compute = bf16 }` of a `train` says this": "bf16 fp16 amp"},
    "model.shape.ffn": {
        "`ffn` is the inner size of one expert, `dense_ffn` that of a layer without experts": (
            "intermediate_size ffn_hidden_size inter_dim d_ff ffn_dim"
        )
    },
    "train.batch.sequences": {
        "`sequences` of a `batch` are those of one step, over all ranks and microbatches": "batch_size"
    },
    "train.batch.length": {
        "`length` of a `batch` is the number of tokens of a sequence": (
            "max_seq_len max_length max_position_embeddings n_ctx n_positions"
        )
    },
    "train.precision.master": {
        "`master` of the block `precision` is the type of parameters and optimizer states": "param_dtype"
    },
    "train.adamw.beta1": {"`adamw` takes `beta1` and `beta2`": "betas adam_betas"},
    "train.dataset": {
        '`dataset = files("corpus/*.txt")` or `tokens("data.bin", type = uint16)` of a `train` says this': (
            "data_path train_data dataset_path data_dir train_files"
        )
    },
    "plan.data.shard": {
        _SHARD: (
            "zero1 zero2 zero3 fsdp fsdp2 hsdp use_distributed_optimizer reshard_after_forward use_fsdp"
            " data_parallel_shard_degree distributed_optimizer"
        )
    },
    "plan.pipeline.chunks": {
        "`chunks` of the block `pipeline` is the number of stages on each rank": (
            "num_layers_per_virtual_pipeline_stage pipeline_parallel_layers_per_stage"
        )
    },
    "cluster.levels": {
        _LEVELS: (
            "nodes num_nodes nnodes gpus num_gpus gpus_per_node nproc_per_node world_size devices_per_node"
        )
    },
    "model.source": {
        '`source = "model.py:Model"` names the file and the class': "class factory path file module target"
    },
    "model.arguments": {"`arguments { .. }` passes arguments to the model": "config kwargs args"},
    "plan.mesh": {
        _AXIS.format(axis="tp", strategy="tensor"): (
            "tensor_model_parallel_size tensor_parallel_degree tensor_parallel_size tp_size tp_degree tp"
        ),
        _AXIS.format(axis="pp", strategy="pipeline"): (
            "pipeline_model_parallel_size pipeline_parallel_degree pipeline_parallel_size pp_size"
            " pp_degree pp"
        ),
        _AXIS.format(axis="ep", strategy="experts"): (
            "expert_model_parallel_size expert_parallel_degree expert_parallel_size ep_size ep_degree ep"
        ),
        _AXIS.format(axis="dp", strategy="data"): (
            "data_parallel_size data_parallel_degree data_parallel_replicate_degree dp_size dp_degree dp"
            " dp_replicate dp_shard"
        ),
        "`experts over [ep] { tensor = [tp] }` of a plan splits the matrices of each expert": (
            "expert_tensor_parallel_size expert_tensor_parallel_degree etp"
        ),
        "parc has no context parallelism; `tensor over [tp] { sequence = true }` splits activations": (
            "context_parallel_size context_parallel_degree cp cp_size"
        ),
    },
}
KEYS: dict[str, tuple[Equivalent, ...]] = {}
"""The places of each foreign name of a key."""

for _path, _names in _SAME.items():
    for _name in _names.split():
        KEYS[_name] = (*KEYS.get(_name, ()), Equivalent(_path))
for _path, _helps in _OTHER.items():
    for _help, _names in _helps.items():
        for _name in _names.split():
            KEYS[_name] = (*KEYS.get(_name, ()), Equivalent(_path, _help))

BLOCKS = {
    "dp": "data",
    "ddp": "data",
    "data_parallel": "data",
    "tp": "tensor",
    "tensor_parallel": "tensor",
    "pp": "pipeline",
    "pipeline_parallel": "pipeline",
    "ep": "experts",
    "expert_parallel": "experts",
    "expert": "experts",
    "hardware": "cluster",
    "training": "train",
    "gpu": "device",
    "parallelism": "plan",
    "layout": "plan",
    "network": "link",
    "data_loader": "batch",
}
"""Foreign names of blocks. A block of the other name has the same meaning."""

CHOICES = {
    "plan.data.shard": {
        "zero1": "optimizer",
        "zero2": "gradients",
        "shard_grad_op": "gradients",
        "zero3": "parameters",
        "fsdp": "parameters",
        "full_shard": "parameters",
        "full": "parameters",
        "ddp": "none",
        "no_shard": "none",
    },
    "plan.recompute": {"full": "layer", "selective": "attention", "block": "layer"},
    "plan.pipeline.schedule": {
        "interleaved_1f1b": "interleaved",
        "interleaved1f1b": "interleaved",
        "schedule1f1b": "1f1b",
        "zb": "zero_bubble",
        "zbh1": "zero_bubble",
        "zerobubble": "zero_bubble",
        "interleavedzerobubble": "zero_bubble",
        "zbvzerobubble": "zbv",
    },
    "train.precision.compute": {
        "bfloat16": "bf16",
        "torch.bfloat16": "bf16",
        "float32": "fp32",
        "torch.float32": "fp32",
        "float": "fp32",
        "float64": "fp64",
        "torch.float64": "fp64",
        "double": "fp64",
    },
    "train.precision.master": {
        "float32": "fp32",
        "torch.float32": "fp32",
        "float64": "fp64",
        "torch.float64": "fp64",
    },
    "train.tokens.type": {"u8": "uint8", "u16": "uint16", "u32": "uint32", "i32": "int32", "int": "int32"},
}
"""Foreign words of choices, in lower case, and parc's words for the same, by the path of the key."""
