package bench

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// tick is the unit of /proc/stat on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// busy is the processor time of all processes, and the hypervisor's steal, since the machine started; 0 where it cannot be read.
func busy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line) // cpu user nice system idle iowait irq softirq steal ..
	sum := time.Duration(0)
	for i, f := range fields {
		if n, err := strconv.ParseInt(string(f), 10, 64); err == nil && i >= 1 && i <= 8 && i != 4 && i != 5 {
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// own is the processor time of this process and of the given ones that live.
func own(pids []int) time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	sum := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			continue
		}
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // from the third on: state is 0, utime 11, stime 12
		for _, f := range fields[11:13] {
			n, _ := strconv.ParseInt(string(f), 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// Watcher sees what others take of the machine.
type Watcher struct {
	start     time.Time
	pids      []int
	busy, own time.Duration
}

// Watch begins to watch. The work of this process and of the processes of the given numbers is not others'.
func Watch(pids ...int) Watcher { return Watcher{time.Now(), pids, busy(), own(pids)} }

// Others is the share of the machine's cores that others took since the watch began; -1: not known.
func (w Watcher) Others() float64 {
	now := busy()
	if now == 0 {
		return -1
	}
	return max(0, float64((now-w.busy)-(own(w.pids)-w.own))/(float64(time.Since(w.start))*float64(runtime.NumCPU())))
}
