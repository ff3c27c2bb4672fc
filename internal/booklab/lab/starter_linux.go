package lab

import "syscall"

// childAttributes puts a child into a process group of its own, so that a
// Ctrl-C in the terminal does not end it before the lab does, and lets it die
// with the lab.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// guardAttributes let a child outlive the lab, to clean up behind it.
func guardAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
