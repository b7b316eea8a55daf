package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupBase is where groups can be made: a directory for each controller, equal under v2, empty where it is not
// writable.
type cgroupBase struct {
	v2           bool
	pids, memory string
}

// cgroupRoot is where every current distribution mounts them.
const cgroupRoot = "/sys/fs/cgroup"

// findCgroups looks for writable pids and memory controllers. The zero base is a normal answer: they are a bonus.
func findCgroups() cgroupBase {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return cgroupBase{}
	}
	own := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if part := strings.SplitN(line, ":", 3); len(part) == 3 {
			for _, c := range strings.Split(part[1], ",") {
				own[c] = part[2]
			}
		}
	}
	var base cgroupBase
	for _, c := range []struct {
		name, file string
		dir        *string
	}{{"pids", "pids.max", &base.pids}, {"memory", "memory.limit_in_bytes", &base.memory}} {
		mount := filepath.Join(cgroupRoot, c.name)
		if dir := probeGroup(c.file, filepath.Join(mount, own[c.name]), mount); dir != "" {
			*c.dir = dir
		}
	}
	if base.pids == "" && base.memory == "" {
		dir := filepath.Join(cgroupRoot, own[""])
		base.pids = probeGroup("pids.max", dir, filepath.Dir(dir))
		base.memory = probeGroup("memory.max", dir, filepath.Dir(dir))
		base.v2 = base.pids != "" || base.memory != ""
	}
	return base
}

// probeGroup returns the first directory in which a new group has the file.
func probeGroup(file string, dirs ...string) string {
	for _, d := range dirs {
		if !strings.HasPrefix(d, cgroupRoot) {
			continue
		}
		sweep(d, "gor1-", os.Remove) // fails while there is a process in it
		probe := filepath.Join(d, groupName())
		if os.Mkdir(probe, 0o755) != nil {
			continue
		}
		f, err := os.OpenFile(filepath.Join(probe, file), os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		os.Remove(probe)
		if err == nil {
			return d
		}
	}
	return ""
}

// sweep removes what host programs left in dir that were killed before they could: folders named by prefix, the number of
// their process and one more number.
func sweep(dir, prefix string, remove func(string) error) {
	left, _ := filepath.Glob(filepath.Join(dir, prefix+"*-*"))
	for _, d := range left {
		var pid, n int
		if _, err := fmt.Sscanf(filepath.Base(d), prefix+"%d-%d", &pid, &n); err == nil && unix.Kill(pid, 0) == unix.ESRCH {
			remove(d)
		}
	}
}

// groupCount numbers the groups of this process.
var groupCount atomic.Int64

func groupName() string { return fmt.Sprintf("gor1-%d-%d", os.Getpid(), groupCount.Add(1)) }

// cgroup is the group of one run: one directory, or two under v1.
type cgroup struct {
	dirs   []string
	memory string // the directory with the memory controller, if any
	v2     bool
}

// newCgroup makes the group of a run with limits l.
func (b cgroupBase) newCgroup(l Limits) (*cgroup, error) {
	g := &cgroup{v2: b.v2}
	name := groupName()
	for _, base := range []string{b.pids, b.memory} {
		dir := filepath.Join(base, name)
		if base == "" || len(g.dirs) > 0 && g.dirs[0] == dir {
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("sandbox: make cgroup: %w", err), g.remove())
		}
		g.dirs = append(g.dirs, dir)
	}
	var errs []error
	set := func(base, file, v string, must bool) {
		if base == "" {
			return
		}
		if err := os.WriteFile(filepath.Join(base, name, file), []byte(v), 0); err != nil && must {
			errs = append(errs, fmt.Errorf("sandbox: cgroup limit: %w", err))
		}
	}
	mem := strconv.FormatInt(l.Memory+initMemory, 10)
	set(b.pids, "pids.max", strconv.Itoa(l.Processes+spare), true)
	if b.v2 {
		set(b.memory, "memory.max", mem, true)
		set(b.memory, "memory.swap.max", "0", false)
		set(b.memory, "memory.oom.group", "1", false)
	} else {
		set(b.memory, "memory.limit_in_bytes", mem, true)
		set(b.memory, "memory.memsw.limit_in_bytes", mem, false)
	}
	if b.memory != "" {
		g.memory = filepath.Join(b.memory, name)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

// initMemory is what the first process and the kernel's bookkeeping of the sandbox may take beside the job.
const initMemory = 32 << 20

// add moves a process into the group.
func (g *cgroup) add(pid int) error {
	for _, d := range g.dirs {
		if err := os.WriteFile(filepath.Join(d, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("sandbox: enter cgroup: %w", err)
		}
	}
	return nil
}

// oom reports whether the kernel killed something in the group for want of memory.
func (g *cgroup) oom() bool {
	if g == nil || g.memory == "" {
		return false
	}
	file := "memory.oom_control"
	if g.v2 {
		file = "memory.events"
	}
	b, _ := os.ReadFile(filepath.Join(g.memory, file))
	for _, line := range strings.Split(string(b), "\n") {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return n != "0"
		}
	}
	return false
}

// remove deletes the group. The kernel may take a moment to let go of the last process.
func (g *cgroup) remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, d := range g.dirs {
		var err error
		for wait := time.Millisecond; wait < 2*time.Second; wait *= 2 {
			if err = os.Remove(d); err == nil || os.IsNotExist(err) {
				err = nil
				break
			}
			time.Sleep(wait)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sandbox: remove cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}
