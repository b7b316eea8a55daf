//go:build !linux

package bench

// Watcher sees what others take of the machine.
type Watcher struct{}

// Watch begins to watch. The work of this process and of the processes of the given numbers is not others'.
func Watch(...int) Watcher { return Watcher{} }

// Others is -1: what other processes do is not known here.
func (Watcher) Others() float64 { return -1 }
