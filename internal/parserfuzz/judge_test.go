package parserfuzz_test

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// judge tells from the parser's tree what a text is. Its lists are its own, so
// that a mistake of the classifier is not made twice.
type judge struct {
	volatile  map[string]bool // some function of that name is volatile
	relations map[string]bool // must not be read on a replica
	types     map[string]bool
	operators map[string]bool
	evil      map[string]bool // functions that are not what they are declared to be
}

// verdict is why a text is not a read, or nothing.
type verdict struct{ why string }

func (v *verdict) write(why string) {
	if v.why == "" {
		v.why = why
	}
}

// read judges a text. ok is false if it does not parse.
func (j *judge) read(sql string) (v verdict, ok bool) {
	tree, err := pg_query.Parse(sql)
	if err != nil {
		return v, false
	}
	for _, raw := range tree.GetStmts() {
		j.statement(raw.GetStmt(), &v)
	}
	return v, true
}

func (j *judge) statement(n *pg_query.Node, v *verdict) {
	switch s := n.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
	case *pg_query.Node_TransactionStmt:
		switch s.TransactionStmt.GetKind() {
		case pg_query.TransactionStmtKind_TRANS_STMT_PREPARE, pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED,
			pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
			v.write("two-phase commit")
		}
		return
	case *pg_query.Node_ExplainStmt:
		j.statement(s.ExplainStmt.GetQuery(), v)
		return
	case *pg_query.Node_CopyStmt:
		c := s.CopyStmt
		if c.GetIsFrom() || c.GetIsProgram() || c.GetFilename() != "" {
			v.write("COPY")
		}
		if c.GetQuery() != nil {
			j.statement(c.GetQuery(), v)
		}
	default:
		v.write("a command")
		return
	}
	j.walk(n.ProtoReflect(), v)
}

// walk goes through all nodes.
func (j *judge) walk(m protoreflect.Message, v *verdict) {
	if v.why != "" {
		return
	}
	j.node(m, v)
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() != protoreflect.MessageKind {
			return true
		}
		if field.IsList() {
			for i := range value.List().Len() {
				j.walk(value.List().Get(i).Message(), v)
			}
			return true
		}
		j.walk(value.Message(), v)
		return true
	})
}

func (j *judge) node(m protoreflect.Message, v *verdict) {
	switch n := m.Interface().(type) {
	case *pg_query.InsertStmt, *pg_query.UpdateStmt, *pg_query.DeleteStmt, *pg_query.MergeStmt:
		v.write("a writing WITH")
	case *pg_query.IntoClause:
		v.write("SELECT INTO")
	case *pg_query.LockingClause:
		v.write("FOR UPDATE")
	case *pg_query.FuncCall:
		j.function(last(n.GetFuncname()), v)
	case *pg_query.RangeTableSample:
		j.function(last(n.GetMethod()), v)
	case *pg_query.RangeVar:
		name := n.GetRelname()
		switch {
		case strings.HasPrefix(n.GetSchemaname(), "pg_temp"):
			v.write("a temporary relation")
		case n.GetSchemaname() == "information_schema", j.relations[name], serverView(name):
			v.write("relation " + name)
		}
	case *pg_query.TypeName:
		if name := last(n.GetNames()); j.types[name] {
			v.write("type " + name)
		}
	case *pg_query.A_Expr:
		j.operator(n.GetName(), v)
	case *pg_query.SubLink:
		j.operator(n.GetOperName(), v)
	case *pg_query.SortBy:
		j.operator(n.GetUseOp(), v)
	case *pg_query.ColumnRef:
		if len(n.GetFields()) > 1 {
			j.attribute(last(n.GetFields()), v)
		}
	case *pg_query.A_Indirection:
		j.attribute(last(n.GetIndirection()), v)
	}
}

func (j *judge) operator(name []*pg_query.Node, v *verdict) {
	if op := last(name); j.operators[op] {
		v.write("operator " + op)
	}
}

func (j *judge) function(name string, v *verdict) {
	if j.evil[name] || denied(name) || j.volatile[name] && !slices.Contains(harmless, name) {
		v.write("function " + name)
	}
}

// attributes are functions with one argument that no column has the name of: x.f
// is then f(x).
var attributes = strings.Fields(`nextval currval noisy liar definer_writes locker tenant hiddendefault
	pg_advisory_lock pg_try_advisory_lock pg_advisory_xact_lock pg_try_advisory_xact_lock pg_advisory_unlock`)

func (j *judge) attribute(name string, v *verdict) {
	if slices.Contains(attributes, name) {
		v.write("function " + name + " as an attribute")
	}
}

func last(names []*pg_query.Node) string {
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1].GetString_().GetSval()
}

// harmless are the volatile functions that a standby runs as the primary does.
var harmless = []string{
	"random", "random_normal", "clock_timestamp", "timeofday", "gen_random_uuid", "pg_sleep", "pg_sleep_for", "pg_sleep_until", "bernoulli", "system",
}

// denied are the functions that a standby accepts although they belong on the
// primary, and those that tell about one server.
func denied(name string) bool {
	if slices.Contains(deniedNames, name) {
		return true
	}
	for _, prefix := range deniedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

var deniedNames = strings.Fields(`nextval currval lastval setval set_config setseed loread lowrite pg_notify pg_sequence_last_value pg_export_snapshot
	txid_current pg_current_xact_id pg_promote pg_reload_conf pg_cancel_backend pg_terminate_backend pg_switch_wal pg_log_backend_memory_contexts
	pg_is_in_recovery pg_backend_pid inet_server_addr inet_server_port inet_client_addr inet_client_port pg_postmaster_start_time pg_conf_load_time
	pg_current_logfile current_query pg_current_snapshot pg_current_xact_id_if_assigned txid_current_if_assigned txid_current_snapshot txid_status
	pg_xact_status pg_my_temp_schema pg_is_other_temp_schema pg_listening_channels pg_notification_queue_usage pg_blocking_pids
	pg_safe_snapshot_blocking_pids pg_database_size pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_tablespace_size
	pg_trigger_depth pg_walfile_name pg_walfile_name_offset pg_rotate_logfile currtid2 pg_get_multixact_members pg_prepared_xact pg_prepared_statement
	pg_cursor pg_lock_status pg_show_all_settings pg_show_all_file_settings pg_hba_file_rules pg_ident_file_mappings pg_config
	pg_available_extensions pg_available_extension_versions pg_extension_update_paths pg_get_backend_memory_contexts pg_get_shmem_allocations
	pg_get_replication_slots pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_jit_available isn_weak set_limit
	query_to_xml cursor_to_xml table_to_xml schema_to_xml database_to_xml query_to_xml_and_xmlschema table_to_xml_and_xmlschema ts_stat ts_rewrite`)

var deniedPrefixes = []string{
	"pg_advisory_", "pg_try_advisory_", "lo_", "dblink", "pg_read_", "pg_ls_", "pg_backup_", "pg_logical_", "pg_replication_", "pg_create_", "pg_drop_",
	"pg_copy_", "pg_stat_get_", "pg_stat_reset", "pg_stat_clear", "pg_stat_force", "binary_upgrade_", "brin_", "gin_clean_", "pg_control_",
	"pg_current_wal", "pg_wal_replay", "pg_event_trigger_",
}

// serverView reports whether a view of pg_catalog shows what one server knows.
func serverView(name string) bool {
	switch name {
	case "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic", "pg_statistic_ext", "pg_statistic_ext_data":
		return false
	case "pg_locks", "pg_settings", "pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_prepared_xacts", "pg_prepared_statements",
		"pg_cursors", "pg_config", "pg_backend_memory_contexts", "pg_shmem_allocations", "pg_available_extensions", "pg_available_extension_versions",
		"pg_sequences", "pg_timezone_names", "pg_timezone_abbrevs":
		return true
	}
	return strings.HasPrefix(name, "pg_stat_") || strings.HasPrefix(name, "pg_statio_") || strings.HasPrefix(name, "pg_replication_")
}
