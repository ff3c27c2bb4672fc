package sqlclass

import "strings"

// function flags: what all functions of one name have in common.
type functionFlags uint16

const (
	// hasBuiltin: a function of that name came with the server.
	hasBuiltin functionFlags = 1 << iota
	// builtinUnsafe: one of those must not run on a replica.
	builtinUnsafe
	// builtinObserves: it only shows a server's own state, so that it is
	// harmless although it is not a read.
	builtinObserves
	// hasUser: a user or an extension made a function of that name.
	hasUser
	// userUnsafe: one of those is volatile, or not clean.
	userUnsafe
	// userUnclean: one of those may change the session.
	userUnclean
	// userChanges: one of those may change the catalogue.
	userChanges
	// hasArguments: it can be called as (x).name, without parentheses.
	hasArguments
	// bindsAdvisory: takes a session's advisory lock.
	bindsAdvisory
	// bindsConfig: set_config.
	bindsConfig
	// bindsOther: leaves something else behind in the session.
	bindsOther
	// tellsTime: one of that name may tell when the transaction began.
	tellsTime
	// bindsIdentity: tells which process serves the client.
	bindsIdentity
	// bindsSequence: tells what a sequence gave to this session.
	bindsSequence
	// endsPin: gives an advisory lock back, or may not have got it.
	endsPin

	// bindsAny is what makes a function that calls such a one unclean.
	bindsAny = bindsAdvisory | bindsConfig | bindsOther
)

// name is what the catalogue knows about one name, in whatever schema.
type name struct {
	function       functionFlags
	functionReason Reason // of builtinUnsafe
	relation       Reason // not ReasonRead: why this relation is not read on a replica
	flags          nameFlags
}

type nameFlags uint8

const (
	// nameObserves: the relation shows a server's own state and nothing else.
	nameObserves nameFlags = 1 << iota
	// nameUnclean: reading the relation calls something that is not clean.
	nameUnclean
	// nameInformation: a relation of information_schema, which counts only
	// where that schema may be in the search_path.
	nameInformation
	// nameType: a user-defined type that is not safe.
	nameType
	// nameTime: using the relation or type may tell when the transaction began.
	nameTime
)

// builtin judges a function that came with the server.
func builtin(fn string, volatile bool) (functionFlags, Reason) {
	flags := hasBuiltin
	switch {
	case strings.HasPrefix(fn, "pg_advisory_lock"), strings.HasPrefix(fn, "pg_try_advisory_lock"):
		flags |= bindsAdvisory
		if strings.HasPrefix(fn, "pg_try") {
			flags |= endsPin
		}
	case strings.HasPrefix(fn, "pg_advisory_unlock"):
		flags |= endsPin
	case fn == "pg_backend_pid":
		flags |= bindsIdentity
	case fn == "currval", fn == "lastval":
		flags |= bindsSequence
	case fn == "set_config":
		flags |= bindsConfig
	case fn == "setseed", fn == "pg_backup_start", fn == "pg_start_backup",
		fn == "pg_replication_origin_session_setup", strings.HasPrefix(fn, "binary_upgrade_"):
		flags |= bindsOther
	}
	if transactionTime(fn) {
		flags |= tellsTime
	}
	switch {
	case observes(fn):
		return flags | builtinUnsafe | builtinObserves, ReasonServerState
	case denied(fn):
		return flags | builtinUnsafe, ReasonDenied
	case volatile && !harmlessVolatile(fn):
		return flags | builtinUnsafe, ReasonVolatileFunction
	}
	return flags, ReasonRead
}

// harmlessVolatile lists the volatile functions that a replica runs as well as
// the primary. The last two are the sampling methods of TABLESAMPLE.
func harmlessVolatile(fn string) bool {
	switch fn {
	case "random", "random_normal", "clock_timestamp", "timeofday", "gen_random_uuid", "uuidv4", "uuidv7",
		"pg_sleep", "pg_sleep_for", "pg_sleep_until", "bernoulli", "system":
		return true
	}
	return false
}

// denied lists what a replica accepts, declared stable or immutable or not,
// although its answer there is wrong, or although it acts on the server.
func denied(fn string) bool {
	switch fn {
	case "set_config", "setseed", "nextval", "currval", "lastval", "setval", "loread", "lowrite",
		"pg_export_snapshot", "pg_sequence_last_value", "pg_get_sequence_data", "pg_sequence_parameters", "pg_current_xact_id", "txid_current",
		"pg_promote", "pg_reload_conf", "pg_cancel_backend", "pg_terminate_backend", "pg_log_backend_memory_contexts",
		"pg_switch_wal", "pg_create_restore_point", "pg_import_system_collations", "pg_notify", "pg_walfile_name",
		"pg_walfile_name_offset", "pg_split_walfile_name", "ts_stat", "ts_rewrite", "currtid2":
		return true
	case "pg_wal_lsn_diff":
		return false
	}
	for _, prefix := range [...]string{
		"pg_advisory_", "pg_try_advisory_", "lo_", "dblink", "pg_read_", "pg_ls_", "pg_backup_", "pg_start_backup", "pg_stop_backup",
		"pg_logical_", "pg_replication_", "pg_wal_", "pg_rotate_", "pg_stat_reset", "pg_stat_clear", "pg_stat_force", "binary_upgrade_",
		"pg_create_", "pg_drop_", "pg_copy_", "pg_sync_", "pg_restore_", "pg_clear_", "pg_set_", "pg_stop_", "pg_nextoid",
		"brin_", "gin_clean_", "pg_event_trigger_",
	} {
		if strings.HasPrefix(fn, prefix) {
			return true
		}
	}
	return strings.Contains(fn, "_to_xml") // runs a query, or reads a relation, that is given as text
}

// observes lists what tells about the server, or about this backend, and changes
// nothing.
func observes(fn string) bool {
	switch fn {
	case "pg_is_in_recovery", "pg_backend_pid", "inet_server_addr", "inet_server_port", "inet_client_addr", "inet_client_port",
		"current_setting", "pg_postmaster_start_time", "pg_conf_load_time", "pg_current_logfile", "current_query",
		"pg_current_snapshot", "pg_current_xact_id_if_assigned", "txid_current_if_assigned", "txid_current_snapshot", "txid_status",
		"pg_xact_status", "pg_xact_commit_timestamp", "pg_xact_commit_timestamp_origin", "pg_last_committed_xact",
		"pg_get_multixact_members", "pg_my_temp_schema", "pg_is_other_temp_schema", "pg_listening_channels",
		"pg_notification_queue_usage", "pg_blocking_pids", "pg_safe_snapshot_blocking_pids", "pg_lock_status", "pg_prepared_xact",
		"pg_prepared_statement", "pg_cursor", "pg_show_all_settings", "pg_show_all_file_settings", "pg_hba_file_rules",
		"pg_ident_file_mappings", "pg_config", "pg_available_extensions", "pg_available_extension_versions", "pg_extension_update_paths",
		"pg_get_backend_memory_contexts", "pg_get_shmem_allocations", "pg_get_shmem_allocations_numa", "pg_get_aios",
		"pg_get_replication_slots", "pg_show_replication_origin_status", "pg_jit_available", "pg_database_size", "pg_relation_size",
		"pg_table_size", "pg_indexes_size", "pg_total_relation_size", "pg_tablespace_size", "pg_control_checkpoint", "pg_control_init",
		"pg_control_recovery", "pg_control_system", "pg_is_wal_replay_paused", "pg_get_wal_replay_pause_state",
		"pg_get_wal_resource_managers", "pg_current_wal_lsn", "pg_current_wal_insert_lsn", "pg_current_wal_flush_lsn",
		"pg_last_wal_receive_lsn", "pg_last_wal_replay_lsn", "pg_last_xact_replay_timestamp", "pg_trigger_depth", "pg_numa_available":
		return true
	}
	return strings.HasPrefix(fn, "pg_stat_get_")
}

// observedRelation lists the system views that show a server's own state.
func observedRelation(relation string) bool {
	switch relation {
	case "pg_locks", "pg_settings", "pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_prepared_xacts",
		"pg_prepared_statements", "pg_cursors", "pg_config", "pg_backend_memory_contexts", "pg_shmem_allocations",
		"pg_shmem_allocations_numa", "pg_aios", "pg_wait_events", "pg_available_extensions", "pg_available_extension_versions",
		"pg_sequences", "pg_dsm_registry_allocations":
		return true
	}
	return strings.HasPrefix(relation, "pg_stat") || strings.HasPrefix(relation, "pg_replication_")
}

// replicatedRelation lists the system views that show nothing but what the
// system catalogues say, which replicas have like any other table.
func replicatedRelation(relation string) bool {
	switch relation {
	case "pg_roles", "pg_group", "pg_user", "pg_shadow", "pg_policies", "pg_rules", "pg_views", "pg_tables", "pg_matviews",
		"pg_indexes", "pg_publication_tables", "pg_seclabels", "pg_user_mappings":
		return true
	}
	return false
}

// knownWithoutCatalogue lists the functions that are reads before the catalogue
// is known: without arguments, nothing user-defined can come before them.
func knownWithoutCatalogue(fn []byte) bool {
	switch string(fn) {
	case "now", "version", "current_database", "transaction_timestamp", "statement_timestamp", "clock_timestamp":
		return true
	}
	return false
}
