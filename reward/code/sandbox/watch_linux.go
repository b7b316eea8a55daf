package sandbox

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// watchEvery is how often init looks at the tree, and so how far a limit can be overrun.
const watchEvery = 25 * time.Millisecond

// tick is the unit of processor time in proc; it is 1/100 s on every architecture Go runs on.
const tick = 10 * time.Millisecond

// watch enforces the limits that hold for the tree as a whole: time by the clock, processor time, memory where no cgroup
// counts it, and threads.
func (j *job) watch(done <-chan struct{}) {
	wall := time.NewTimer(j.sp.Limits.Wall)
	defer wall.Stop()
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	var base time.Duration // the processor time used before the present test
	var marks int64
	for {
		select {
		case <-done:
			return
		case <-wall.C:
			if !j.sp.Off["wall"] {
				j.kill(WallLimit)
				return
			}
		case <-t.C:
		}
		if j.sp.Off["watch"] {
			continue
		}
		u := j.usage()
		if m := j.marks.Load(); m != marks {
			marks, base = m, u.cpu
		}
		switch {
		case u.cpu-base > j.sp.Limits.CPU:
			j.kill(CPULimit)
			return
		case !j.sp.Memcg && u.rss > j.sp.Limits.Memory:
			j.kill(MemoryLimit)
			return
		case u.threads > j.sp.Limits.Processes:
			j.kill(ProcessLimit)
			return
		}
	}
}

// usage is what a tree uses.
type usage struct {
	cpu     time.Duration
	rss     int64
	threads int
}

func (j *job) usage() usage {
	var u usage
	if j.proc < 0 {
		return u
	}
	for _, p := range j.tree() {
		if s, ok := readStat(j.proc, p); ok {
			u.cpu += s.cpu
			u.rss += s.rss
			u.threads += s.threads
		}
	}
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_CHILDREN, &ru) == nil {
		u.cpu += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	return u
}

// stat is what is needed of /proc/PID/stat.
type stat struct {
	usage
	parent int
}

func readStat(proc, pid int) (stat, bool) {
	fd, err := unix.Openat(proc, strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return stat{}, false
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return stat{}, false
	}
	return parseStat(buf[:n])
}

// parseStat reads the fields after the command's name, which may hold anything, a ")" too.
func parseStat(b []byte) (stat, bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return stat{}, false
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 22 {
		return stat{}, false
	}
	num := func(field int) int64 { // as proc(5) counts them; the state is field 3
		v, _ := strconv.ParseInt(string(f[field-3]), 10, 64)
		return v
	}
	return stat{parent: int(num(4)), usage: usage{
		cpu:     time.Duration(num(14)+num(15)+num(16)+num(17)) * tick,
		rss:     num(24) * int64(os.Getpagesize()),
		threads: int(num(20)),
	}}, true
}

// tree lists the processes of the sandbox but init: those below it, since what is orphaned is handed to it.
func (j *job) tree() []int {
	if j.proc < 0 {
		return nil
	}
	var buf [32]byte
	n, err := unix.Readlinkat(j.proc, "self", buf[:]) // init's number there, which may not be the one it knows
	if err != nil {
		return nil
	}
	self, _ := strconv.Atoi(string(buf[:n]))
	children := map[int][]int{}
	for _, p := range allPids(j.proc) {
		if s, ok := readStat(j.proc, p); ok {
			children[s.parent] = append(children[s.parent], p)
		}
	}
	var out []int
	for todo := []int{self}; len(todo) > 0; {
		below := children[todo[0]]
		todo = append(todo[1:], below...)
		out = append(out, below...)
	}
	return out
}

// allPids lists the processes of a proc file system.
func allPids(proc int) []int {
	fd, err := unix.Openat(proc, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	d := os.NewFile(uintptr(fd), "proc")
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var pids []int
	for _, n := range names {
		if p, err := strconv.Atoi(n); err == nil {
			pids = append(pids, p)
		}
	}
	return pids
}
