package zookeeper

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
)

// Nobody asks in the first moment of a connection that follows another. But what
// was asked before it is answered then, and is read by somebody who has to know
// that everything may have expired meanwhile.
func TestRejoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = time.Minute
		w := newWatches(func(string) haste { return soon })
		session := func(states ...zk.State) {
			for _, state := range states {
				w.onEvent(zk.Event{Type: zk.EventSession, State: state})
			}
			w.take()
		}
		session(zk.StateHasSession)
		if !w.connected() || !w.settled(timeout).Before(time.Now()) {
			t.Error("the first session has to wait")
		}
		for _, loss := range []zk.State{zk.StateDisconnected, zk.StateExpired} {
			links := w.connections()
			session(loss)
			time.Sleep(time.Hour)
			session(zk.StateHasSession)
			if w.connected() || w.settled(timeout) != time.Now().Add(2*timeout) || w.connections() == links {
				t.Errorf("%v: right after it: connected %t, settled at %s, %s", loss, w.connected(), w.settled(timeout), time.Now())
			}
			time.Sleep(rejoinPause)
			synctest.Wait()
			if !w.connected() || !w.pending() {
				t.Errorf("%v: after the pause: connected %t, pending %t", loss, w.connected(), w.pending())
			}
		}
		// One that is lost again at once, and one that is there twice.
		session(zk.StateDisconnected, zk.StateHasSession, zk.StateDisconnected)
		time.Sleep(rejoinPause)
		synctest.Wait()
		if w.connected() || w.pending() {
			t.Error("connected to a session that has gone")
		}
		session(zk.StateHasSession, zk.StateHasSession)
		time.Sleep(rejoinPause)
		synctest.Wait()
		if !w.connected() {
			t.Error("not connected to a session that was told twice")
		}
	})
}
