package proxy

// The columns are PgBouncer's, as far as they mean the same here.
var (
	poolColumns = []string{"database", "user", "cl_active:int", "cl_waiting:int", "sv_active:int", "sv_idle:int",
		"sv_login:int", "maxwait:int", "pool_mode"}
	clientColumns = []string{"type", "user", "database", "state", "addr", "port:int", "local_addr", "local_port:int", "link", "remote_pid:int"}
	serverColumns = []string{"type", "user", "database", "state", "addr", "port:int", "local_addr", "local_port:int", "link", "remote_pid:int"}
)

func (s *Server) showPools() *table {
	t := newTable(poolColumns...)
	st := s.Stats()
	var running int64
	for i := range st.Nodes {
		running += st.Nodes[i].Outstanding
	}
	t.add("*", "*", st.Clients, st.Router.OracleWaiters, running, nil, nil, nil, s.cfg.Load().PoolMode.String())
	return t
}

func (s *Server) showClients() *table { return newTable(clientColumns...) }

func (s *Server) showServers() *table { return newTable(serverColumns...) }
