package main

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
)

// Measurement is one input and where it comes from.
type Measurement struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is µs of processor time, bytes, or 1/s.
	Unit string `json:"unit"`
	// What says in words what was measured.
	What string `json:"what"`
	// Command measures it again.
	Command string `json:"command"`
}

// Measured is the content of measured.json.
type Measured struct {
	// Machine says where, for whoever compares.
	Machine string        `json:"machine"`
	Inputs  []Measurement `json:"inputs"`
}

//go:embed measured.json
var measuredJSON []byte

// readMeasured reads what was measured.
func readMeasured(data []byte) (Measured, error) {
	var m Measured
	if err := json.Unmarshal(data, &m); err != nil {
		return Measured{}, fmt.Errorf("read measured.json: %w", err)
	}
	return m, nil
}

// A profile is one kind of request: by what name measured.json has its costs,
// where that is not the name of the field.
type profile struct {
	title string
	names map[string]string
}

// The profiles of the tables.
var (
	example = profile{"The booking example", map[string]string{
		"read_server":    "example_read_server",
		"write_server":   "example_write_server",
		"send_replica":   "example_send_replica",
		"replay_replica": "example_replay_replica",
		"replay_serial":  "example_replay_serial",
		"wal_per_write":  "example_wal_per_write",
		"proxy_read":     "example_read_proxy",
		"proxy_write":    "example_write_proxy",
	}}
	lean = profile{"One point read, or one INSERT, for each request", nil}
)

// fields are the model's inputs by name.
func (in *Inputs) fields() map[string]*float64 {
	return map[string]*float64{
		"read_server":    &in.ReadServer,
		"write_server":   &in.WriteServer,
		"send_replica":   &in.SendReplica,
		"replay_replica": &in.ReplayReplica,
		"replay_serial":  &in.ReplaySerial,
		"position_call":  &in.PositionCall,
		"wal_per_write":  &in.WALPerWrite,
		"proxy_read":     &in.ProxyRead,
		"proxy_write":    &in.ProxyWrite,
		"service_read":   &in.ServiceRead,
		"service_write":  &in.ServiceWrite,
		"backend_memory": &in.BackendMemory,
	}
}

// inputs returns the model's inputs for a profile. Each must be there. What was
// measured must be positive and say how; others may stand beside the inputs.
func (m Measured) inputs(p profile) (Inputs, error) {
	var err error
	values := map[string]float64{}
	for _, one := range m.Inputs {
		if one.Value <= 0 || one.Command == "" || one.What == "" || one.Unit == "" {
			err = errors.Join(err, fmt.Errorf("%s: value, unit, what or command is missing", one.Name))
		}
		values[one.Name] = one.Value
	}
	var in Inputs
	for name, field := range in.fields() {
		name = cmp.Or(p.names[name], name)
		value, ok := values[name]
		if !ok {
			err = errors.Join(err, fmt.Errorf("%s was not measured", name))
		}
		*field = value
	}
	return in, err
}

// set puts a measurement in the place of the one with its name, or at the end.
func (m *Measured) set(one Measurement) {
	for i := range m.Inputs {
		if m.Inputs[i].Name == one.Name {
			m.Inputs[i] = one
			return
		}
	}
	m.Inputs = append(m.Inputs, one)
}
