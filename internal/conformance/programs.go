package main

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strconv"
)

//go:embed programs/node.js
var nodeProgram []byte

//go:embed programs/Jdbc.java
var javaProgram []byte

// jdbcDriver is Debian's.
const jdbcDriver = "/usr/share/java/postgresql.jar"

// runNode runs this folder's program for node-postgres, with the package that
// the examples have.
func runNode(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	if err := os.WriteFile(filepath.Join(dir, "node.js"), nodeProgram, 0o644); err != nil {
		return nil, err
	}
	modules := filepath.Join(filepath.Dir(work.fetched), "languages/node/node_modules")
	return program(ctx, work, t, dir, []string{"NODE_PATH=" + modules}, "node", "node.js")
}

// runJava runs this folder's program for PostgreSQL's JDBC driver.
func runJava(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	if err := os.WriteFile(filepath.Join(dir, "Jdbc.java"), javaProgram, 0o644); err != nil {
		return nil, err
	}
	url := "jdbc:postgresql://" + t.host + ":" + strconv.Itoa(t.port) + "/" + t.database
	return program(ctx, work, t, dir, nil, "java", "-Xmx256m", "-cp", jdbcDriver, "Jdbc.java", url)
}

// program runs a program that reports in TAP.
func program(ctx context.Context, work *workdir, t *target, dir string, env []string, name string, args ...string) (outcomes, error) {
	out, err := tool{dir: dir, env: append(t.env(), env...)}.run(ctx, work, name, args...)
	if err != nil {
		return nil, err
	}
	found := make(outcomes)
	addTAP(found, name, out)
	return found, work.keep(t, name+".log", []byte(out))
}
