package sandbox

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// holdings is what runs could leave behind.
type holdings struct {
	Processes, Descriptors, Mounts, Groups, Folders, Goroutines int
}

func held(t *testing.T) holdings {
	list := func(pattern string) int {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		return len(names)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	h := holdings{Descriptors: list("/proc/self/fd/*"), Mounts: strings.Count(string(mounts), "\n"), Goroutines: runtime.NumGoroutine(),
		Folders: list(filepath.Join(os.TempDir(), "gor1-job-*"))}
	own := "gor1-" + strconv.Itoa(os.Getpid()) + "-*"
	for _, dir := range []string{findCgroups().pids, findCgroups().memory} {
		if dir != "" {
			h.Groups += list(filepath.Join(dir, own))
		}
	}
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(proc)
	h.Processes = len((&job{proc: proc}).tree())
	return h
}

// Runs that end in every way leave no process, descriptor, mount, cgroup, folder or goroutine.
func TestLeaks(t *testing.T) {
	runs := 300
	if *long {
		runs = 10000
	}
	scripts := []string{"exit 0", "exit 7", "kill -9 $$", "sleep 5 & exit 0", "(setsid sleep 5 &) ; exit 0", "while :; do :; done",
		"while :; do echo xxxxxxxxxxxxxxxx; done", "exec </dev/null >/dev/null 2>&1; kill -STOP $$", "mkdir a; echo x > a/b", "canceled"}
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			s := openTest(t, Config{kind: k, Limits: Limits{CPU: 30 * time.Millisecond, Wall: 10 * time.Second, Output: 1 << 14}})
			n := runs
			if k != kindNamespaces {
				n = runs / 10
			}
			before := held(t)
			for again := (holdings{}); again != before; again = held(t) { // the launcher may still be reaping
				before = held(t)
				time.Sleep(20 * time.Millisecond)
			}
			var group errgroup.Group
			group.SetLimit(2 * runtime.NumCPU())
			for i := range n {
				group.Go(func() error {
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					c := sh(scripts[i%len(scripts)])
					switch c.Args[2] {
					case "canceled":
						c = sh("kill -STOP $$")
						time.AfterFunc(time.Duration(i%40)*time.Millisecond, cancel)
					case scripts[7]:
						c.Limits.Wall = 50 * time.Millisecond
					}
					if _, err := s.Run(ctx, c); err != nil && ctx.Err() == nil {
						return err
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
			after := held(t)
			for wait := time.Millisecond; after != before && wait < 2*time.Second; wait *= 2 {
				time.Sleep(wait) // timers and their goroutines end soon
				after = held(t)
			}
			require.Equal(t, before, after)
			t.Logf("%d runs: %+v before and after", n, after)
		})
	}
}

// BenchmarkOverhead prints the medians of a plain exec of /bin/true, of the same in each kind of sandbox, and their
// difference, measured in turns.
func BenchmarkOverhead(b *testing.B) {
	var boxes []*Sandbox
	for _, k := range kinds {
		if s, err := Open(Config{kind: k}); err == nil {
			boxes = append(boxes, s)
		}
	}
	times := map[string][]time.Duration{}
	measure := func(name string, f func() error) {
		begin := time.Now()
		if err := f(); err != nil {
			b.Fatal(name, err)
		}
		times[name] = append(times[name], time.Since(begin))
	}
	for b.Loop() {
		measure("plain", exec.Command("/bin/true").Run)
		for _, s := range boxes {
			measure(s.Kind(), func() error {
				_, err := s.Run(context.Background(), Command{Args: []string{"/bin/true"}})
				return err
			})
		}
	}
	ms := func(name string) float64 {
		slices.Sort(times[name])
		return float64(times[name][len(times[name])/2].Microseconds()) / 1000
	}
	b.ReportMetric(ms("plain"), "plain-ms")
	for _, s := range boxes {
		b.ReportMetric(ms(s.Kind())-ms("plain"), s.Kind()+"-over-ms")
	}
}
