package zookeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"
)

// Claim is what a server that is a primary has proven of itself.
type Claim struct {
	// Name is its node's, as in PATH/nodes/NAME.
	Name string `json:"name"`
	// SystemID and Timeline are what the server said.
	SystemID uint64 `json:"system_id,string"`
	Timeline uint32 `json:"timeline"`
}

// ClaimError says why PATH/primary was left as it is.
type ClaimError struct {
	// Reason is in words, for people.
	Reason string
}

// Error says so in a sentence.
func (e *ClaimError) Error() string { return "PATH/primary is left as it is: " + e.Reason }

// lastClaim is PATH/claim: the last claim that was granted. It outlives
// PATH/primary, so that a server which was left behind on an old timeline never
// gets it, however long nobody had it.
type lastClaim struct {
	Primary  string `json:"primary"`
	SystemID uint64 `json:"system_id,string"`
	Timeline uint32 `json:"timeline"`
}

// ClaimPrimary writes a server's name into PATH/primary if that is safe, and
// the claim into PATH/claim, in one step. It reports whether anything was
// written; nothing is if all of it is there already. The claim is refused
// (*ClaimError)
//
//   - if one of another cluster, or on a higher timeline, was granted before,
//   - if another server's was granted on this very timeline: two servers cannot
//     both be primaries of one timeline, and nobody here can tell which is right,
//   - if PATH/primary names another node that is in PATH/nodes,
//   - if PATH/primary names another node that has gone, but its timeline is not
//     known to be lower: it was not the last to claim.
//
// It proves nothing to the proxies, who ask the servers themselves.
func (r *Registry) ClaimPrimary(ctx context.Context, claim Claim) (written bool, err error) {
	if err := checkName(claim.Name); err != nil {
		return false, fmt.Errorf("claim for %q: %w", claim.Name, err)
	}
	err = r.do(ctx, "claim for "+claim.Name, func() (err error) {
		// Somebody else may write between our reading and our writing: then
		// ZooKeeper refuses all of it, and it is judged anew.
		for range 10 {
			if written, err = r.claim(claim); !errors.Is(err, zk.ErrBadVersion) && !errors.Is(err, zk.ErrNodeExists) && !errors.Is(err, zk.ErrNoNode) {
				return err
			}
		}
		return err
	})
	if err != nil {
		return false, err
	}
	return written, nil
}

// claim is one attempt.
func (r *Registry) claim(claim Claim) (written bool, err error) {
	primary, last := r.path+"/primary", r.path+"/claim"
	if err := r.parents(r.path + "/nodes/x"); err != nil {
		return false, err
	}
	// What is read must be what ZooKeeper's leader has.
	if _, err := r.client.Sync(r.path); err != nil {
		return false, err
	}
	named, namedVersion, err := r.versioned(primary)
	if err != nil {
		return false, err
	}
	text, lastVersion, err := r.versioned(last)
	if err != nil {
		return false, err
	}
	before := lastClaim{}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &before); err != nil {
			return false, &ClaimError{fmt.Sprintf("PATH/claim makes no sense: %v", err)}
		}
	}
	now := lastClaim{claim.Name, claim.SystemID, claim.Timeline}
	holder := strings.TrimSpace(string(named))
	if why := judge(now, before, holder); why != "" {
		return false, &ClaimError{why}
	}
	var ops []any
	if holder != "" && holder != claim.Name {
		gone := r.path + "/nodes/" + holder
		if exists, _, err := r.client.Exists(gone); err != nil {
			return false, err
		} else if exists {
			return false, &ClaimError{"it names " + holder + ", which is still registered"}
		}
		// That it can be made proves, in the same step, that it is not there.
		ops = append(ops, &zk.CreateRequest{Path: gone, Acl: r.acl}, &zk.DeleteRequest{Path: gone, Version: 0})
	}
	if holder != claim.Name {
		ops = append(ops, r.put(primary, []byte(claim.Name), namedVersion))
	}
	if now != before {
		data, err := json.Marshal(now)
		if err != nil {
			return false, err
		}
		if holder == claim.Name {
			ops = append(ops, &zk.CheckVersionRequest{Path: primary, Version: namedVersion})
		}
		ops = append(ops, r.put(last, data, lastVersion))
	}
	if len(ops) == 0 {
		return false, nil
	}
	_, err = r.client.Multi(ops...)
	return err == nil, err
}

// judge says why a claim is refused, "" if it is not; whether the holder has
// gone is still to be seen.
func judge(now, before lastClaim, holder string) string {
	switch {
	case before.Primary == "":
		if holder != "" && holder != now.Primary {
			return "it names " + holder + ", of which no claim is known"
		}
	case before.SystemID != now.SystemID:
		return fmt.Sprintf("%s claimed it for the cluster with the system identifier %d", before.Primary, before.SystemID)
	case before.Timeline > now.Timeline:
		return fmt.Sprintf("%s claimed it on timeline %d, which is higher than %d", before.Primary, before.Timeline, now.Timeline)
	case before.Timeline == now.Timeline && before.Primary != now.Primary:
		return fmt.Sprintf("%s claimed it on the same timeline %d", before.Primary, before.Timeline)
	case holder != "" && holder != now.Primary && holder != before.Primary:
		return "it names " + holder + ", of which no claim is known"
	}
	return ""
}

// YieldPrimary removes PATH/primary if it names the node, for a server that has
// said of itself that it is no primary any more. It reports whether it did.
func (r *Registry) YieldPrimary(ctx context.Context, name string) (yielded bool, err error) {
	err = r.do(ctx, "yield for "+name, func() error {
		path := r.path + "/primary"
		named, version, err := r.versioned(path)
		if err != nil || strings.TrimSpace(string(named)) != name {
			return err
		}
		switch err = r.client.Delete(path, version); {
		case errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrBadVersion):
			return nil // Somebody else names another one.
		case err == nil:
			yielded = true
		}
		return err
	})
	return yielded && err == nil, err
}

// versioned reads a znode; one that does not exist has the version -1.
func (r *Registry) versioned(path string) ([]byte, int32, error) {
	data, stat, err := r.client.Get(path)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, -1, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return data, stat.Version, nil
}

// put is the step that writes a znode which was read at a version.
func (r *Registry) put(path string, data []byte, version int32) any {
	if version < 0 {
		return &zk.CreateRequest{Path: path, Data: data, Acl: r.acl}
	}
	return &zk.SetDataRequest{Path: path, Data: data, Version: version}
}

// Proxies lists PATH/proxies by ID. One that makes no sense is left out.
func (r *Registry) Proxies(ctx context.Context) (map[string]Proxy, error) {
	list := make(map[string]Proxy)
	err := r.do(ctx, "list proxies", func() error {
		ids, _, err := r.client.Children(r.path + "/proxies")
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, id := range ids {
			data, _, err := r.client.Get(r.path + "/proxies/" + id)
			if errors.Is(err, zk.ErrNoNode) {
				continue
			}
			if err != nil {
				return err
			}
			var p Proxy
			if json.Unmarshal(data, &p) == nil {
				list[id] = p
			}
		}
		return nil
	})
	if err != nil {
		return nil, err // list may still be written to
	}
	return list, nil
}
