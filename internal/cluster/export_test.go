package cluster

// Dir is the folder with all the cluster's files.
func (c *Cluster) Dir() string { return c.box.dir }

// WatchdogPID is the process that cleans up when this one dies.
func (c *Cluster) WatchdogPID() int { return c.box.watchdog.Process.Pid }

// Children lists the living processes whose parent is pid.
var Children = children

// Alive says whether pid runs.
var Alive = alive

// PollFor is the package's own way to wait without a fixed sleep.
var PollFor = pollFor
