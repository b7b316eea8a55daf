package recipe

// TRL are the keys of TRL's, transformers' and open-r1's GRPO configurations that this library does not have: those it can leave
// out without a change of the result, and those that ask for other mathematics.
var TRL = Foreign{Ignored: ignored(), Refused: refused, Harmless: harmless}

// Reasons that many keys share.
const (
	ownEngine   = "completions come from the trainer's own weights and kernels, in this process"
	memoryOnly  = "it trades memory for time; memory is planned here"
	precision   = "computed in fp32, which is more exact"
	placement   = "one process, one device"
	loggingOnly = "every step is logged to metrics.jsonl and TensorBoard"
	noUpload    = "nothing is uploaded; push the folder with `hf upload`"
	loading     = "data is read as it is needed"
	watchOnly   = "shows, changes nothing"
)

func ignored() map[string]string {
	all := map[string]string{}
	for why, keys := range map[string][]string{
		ownEngine: {"use_vllm", "vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode", "vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout", "vllm_group_port",
			"vllm_gpu_memory_utilization", "vllm_max_model_length", "vllm_max_model_len", "vllm_tensor_parallel_size", "vllm_device", "vllm_dtype", "vllm_importance_sampling_correction", "vllm_importance_sampling_mode",
			"vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min", "vllm_importance_sampling_cap", "use_transformers_continuous_batching", "transformers_continuous_batching_config",
			"use_transformers_paged", "cache_implementation", "ds3_gather_for_generation", "use_cache"},
		memoryOnly: {"gradient_checkpointing_kwargs", "torch_empty_cache_steps", "activation_offloading", "use_liger_kernel", "liger_kernel_config", "use_liger_loss", "per_device_eval_batch_size",
			"eval_accumulation_steps", "auto_find_batch_size"},
		precision: {"fp16", "bf16_full_eval", "fp16_full_eval", "tf32", "dtype", "torch_dtype", "cast_lm_head_to_fp32", "average_tokens_across_devices"},
		placement: {"attn_implementation", "deepspeed", "fsdp", "fsdp_config", "accelerator_config", "parallelism_config", "ddp_backend", "ddp_timeout", "ddp_bucket_cap_mb", "ddp_broadcast_buffers",
			"ddp_find_unused_parameters", "ddp_static_graph", "local_rank", "use_cpu", "torch_compile", "torch_compile_backend", "torch_compile_mode", "save_on_each_node", "log_on_each_node"},
		loggingOnly: {"logging_steps", "logging_strategy", "logging_first_step", "logging_dir", "logging_nan_inf_filter", "log_level", "log_level_replica", "run_name", "project", "trackio_space_id",
			"trackio_bucket_id", "trackio_static_space_id", "wandb_entity", "wandb_project", "wandb_run_group", "include_num_input_tokens_seen", "include_tokens_per_second", "disable_tqdm", "wandb_log_unique_prompts"},
		noUpload: {"push_to_hub", "hub_model_id", "hub_model_revision", "hub_strategy", "hub_token", "hub_private_repo", "hub_always_push", "hub_revision", "push_to_hub_revision", "log_completions_hub_repo", "overwrite_hub_revision"},
		loading: {"dataset_streaming", "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_drop_last", "dataloader_in_order",
			"dataloader_multiprocessing_context", "remove_unused_columns", "dataset_num_proc", "preprocessing_num_workers", "pad_to_multiple_of", "include_for_metrics", "label_names", "length_column_name"},
		watchOnly: {"log_multimodal", "log_unique_prompts", "skip_memory_metrics", "debug", "batch_eval_metrics", "prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object", "do_train", "do_predict", "do_eval",
			"eval_delay", "eval_on_start", "benchmarks"},
		"a stopped run always goes on from its newest checkpoint, exactly": {"resume_from_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint", "save_only_model", "enable_jit_checkpoint", "save_safetensors"},
		"weights are safetensors and configurations data: no code is run":  {"trust_remote_code"},
		"the result is a function of the seed alone":                       {"full_determinism", "data_seed"},
		"dropout is 0 in GRPO":                           {"disable_dropout"},
		"the best checkpoint is kept whatever the limit": {"load_best_model_at_end", "metric_for_best_model", "greater_is_better"},
		"weights come from safetensors or GGUF":          {"ignore_bias_buffers", "lora_task_type", "bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"},
	} {
		for _, k := range keys {
			all[k] = why
		}
	}
	return all
}

var refused = map[string]string{
	"reward_model_name_or_path":     "use the reward function reward_model",
	"multi_objective_aggregation":   "rewards are summed, then normalised; grpo.GDPOAdvantages is there for programs",
	"train_sampling_strategy":       "rows are shuffled or taken in order: shuffle_dataset",
	"repetition_penalty":            "the sampler would not be the policy that is trained; use the reward repetition_penalty",
	"generation_kwargs":             "give temperature, top_p, top_k or min_p themselves",
	"model_init_kwargs":             "give the values in the model's config.json",
	"vllm_structured_outputs_regex": "constrained decoding is not offered; judge the form with a reward",
	"vllm_guided_decoding_regex":    "constrained decoding is not offered; judge the form with a reward",
	"router_aux_loss_coef":          "experts are balanced by their bias (DeepSeek-V3), not by a loss",
	"max_tool_calling_iterations":   "tools are not run",
	"use_dora":                      "DoRA is not offered; use use_peft with LoRA",
	"load_in_8bit":                  "quantised training is not offered",
	"load_in_4bit":                  "quantised training is not offered",
	"lora_modules_to_save":          "modules beside the adapter are not trained",
	"lora_target_parameters":        "name modules in lora_target_modules",
	"label_smoothing_factor":        "labels are not smoothed",
	"neftune_noise_alpha":           "noise belongs to SFT",
	"optim":                         "the optimiser is AdamW",
	"optim_args":                    "AdamW has no others than adam_beta1, adam_beta2 and adam_epsilon",
	"optim_target_modules":          "every trained parameter is the optimiser's",
	"num_generations_eval":          "give eval_samples",
	"environment_factory":           "environments are not run",
	"tools":                         "tools are not run",
	"code_provider":                 "code is run in the built-in sandbox",
	"e2b_router_url":                "code is run in the built-in sandbox",
	"morph_router_url":              "code is run in the built-in sandbox",
	"ioi_provider":                  "contest problems with remote judges are not offered",
	"codeforces_code_exec_mode":     "contest problems with remote judges are not offered",
	"codeforces_test_batch_size":    "contest problems with remote judges are not offered",
	"piston_endpoints":              "contest problems with remote judges are not offered",
}

var harmless = map[string][]string{
	"repetition_penalty": {"1", "1.0"}, "router_aux_loss_coef": {"0", "0.0"}, "use_dora": {"false"}, "load_in_8bit": {"false"}, "load_in_4bit": {"false"}, "label_smoothing_factor": {"0", "0.0"},
	"optim":               {"adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused", "adamw_torch_xla", "adamw_torch_npu_fused"},
	"neftune_noise_alpha": {"0", "0.0"}, "train_sampling_strategy": {"random"}, "multi_objective_aggregation": {"sum_then_normalize"},
}
