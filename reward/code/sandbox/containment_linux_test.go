package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

var long = flag.Bool("long", false, "run the long tests: every attack in every kind of sandbox and 10,000 runs")

// attackEnv tells this program, run as a job, which attack it is.
const (
	attackEnv = "SANDBOX_ATTACK"
	hostEnv   = "SANDBOX_HOST"
	runs      = "RUNS"
	escaped   = "ESCAPED "
)

func TestMain(m *testing.M) {
	switch name := os.Getenv(attackEnv); name {
	case "":
		os.Exit(m.Run())
	case "60 MiB":
		sixtyMiB()
	case "host":
		hostToKill()
	default:
		var h host
		json.Unmarshal([]byte(os.Getenv(hostEnv)), &h)
		i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
		fmt.Println(runs)
		if s := attacks[i].run(h); s != "" {
			fmt.Println(escaped + s)
		}
	}
}

// plant makes what the attacks look for, outside.
func plant(t *testing.T) host {
	dir, err := os.MkdirTemp("", "gor1-host-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(secretText), 0o644))
	h := host{Dir: dir, Pid: os.Getpid(), Abs: "gor1-" + filepath.Base(dir)}
	h.Name, _ = os.Hostname()
	accept := func(l net.Listener, err error) string {
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		return l.Addr().String()
	}
	h.TCP = accept(net.Listen("tcp", "127.0.0.1:0"))
	accept(net.Listen("unix", filepath.Join(dir, "socket")))
	require.NoError(t, os.Chmod(filepath.Join(dir, "socket"), 0o777))
	accept(net.Listen("unix", "@"+h.Abs))
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { u.Close() })
	h.UDP = u.LocalAddr().String()
	// A careless host program leaves a descriptor open for its children.
	fd, err := unix.Open(filepath.Join(dir, "secret"), unix.O_RDONLY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	t.Setenv("SECRET", secretText)
	return h
}

// program copies this test to where every user can run it.
func program(t *testing.T) string {
	self, err := os.Executable()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "gor1-attacks-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	to := filepath.Join(dir, "attack")
	in, err := os.Open(self)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return to
}

// commit runs one attack as a job and returns what it got.
func (a attack) commit(s *Sandbox, prog string, h host) (string, error) {
	h.Marker = strings.ReplaceAll(fmt.Sprintf("gor1-marker-%s-%d", a.name, groupCount.Add(1)), " ", "-")
	desc, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	res, err := s.Run(context.Background(), Command{Args: []string{prog}, ReadOnly: []string{filepath.Dir(prog)}, Limits: a.limits,
		Env: []string{attackEnv + "=" + a.name, hostEnv + "=" + string(desc)}})
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(res.Stdout), runs) {
		return "", fmt.Errorf("the attack did not run: %v %.500s", res, res.Stderr)
	}
	if a.after != nil {
		res.Wall = time.Since(begin) // until the pipes are closed too
		return a.after(h, res), nil
	}
	out := string(res.Stdout)
	if strings.Contains(out, "spun") || strings.Contains(out, "continued") {
		return out, nil
	}
	_, what, _ := strings.Cut(out, escaped)
	return strings.TrimSpace(what), nil
}

// Every attack is held in every kind of sandbox this machine has, as this user and, where this is root, as nobody. With the
// layers taken away that it is held by, it succeeds: so the attacks are real.
func TestContainment(t *testing.T) {
	prog, h := program(t), plant(t)
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			s := openTest(t, Config{kind: k})
			results := eachAttack(t, func(a attack) (string, error) { return a.commit(s, prog, h) })
			for i, got := range results {
				if got != "" && !slices.Contains(attacks[i].open, k) {
					t.Errorf("%s %s escaped: %s", attacks[i].fault, attacks[i].name, got)
				}
			}
		})
	}
	t.Run("controls", func(t *testing.T) {
		whole := openTest(t, Config{kind: kindNamespaces})
		results := eachAttack(t, func(a attack) (string, error) {
			if a.root && os.Geteuid() != 0 {
				return "", nil // only root can take the layers away
			}
			s := *whole
			s.cfg.off = a.off
			if s.isOff("cgroup") || s.isOff("kill") { // a group with survivors could not be removed
				s.cgroup = cgroupBase{}
			}
			return a.commit(&s, prog, h)
		})
		shown := 0
		for i, got := range results {
			if got != "" {
				shown++
				continue
			}
			if *long && (os.Geteuid() == 0 || !attacks[i].root) {
				t.Errorf("%s %s does not succeed with %v taken away", attacks[i].fault, attacks[i].name, attacks[i].off)
			} else {
				t.Logf("%s %s does not succeed here with %v taken away: the machine itself may hold it", attacks[i].fault, attacks[i].name, attacks[i].off)
			}
		}
		t.Logf("%d attacks, %d succeed with their layers taken away", len(attacks), shown)
		require.Greater(t, shown, len(attacks)/2)
	})
}

// eachAttack runs f for every attack, some at a time.
func eachAttack(t *testing.T, f func(a attack) (string, error)) []string {
	results := make([]string, len(attacks))
	var group errgroup.Group
	group.SetLimit(2 * runtime.NumCPU())
	for i, a := range attacks {
		group.Go(func() error {
			got, err := f(a)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			results[i] = got
			return nil
		})
	}
	require.NoError(t, group.Wait())
	return results
}

// The same as another user: this test starts itself as nobody.
func TestAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("already an ordinary user")
	}
	args := []string{"-test.v", "-test.run", "TestRun|TestContainment/namespaces"}
	if *long {
		args = []string{"-test.v", "-long", "-test.run", "TestRun|TestLimits|TestCancel|TestCollect|TestContainment|TestLeaks|TestHostKilled"}
	}
	c := exec.Command(program(t), args...)
	c.Dir = "/"
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/tmp"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	out, err := c.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Skip("this root cannot become another user")
	}
	require.NoError(t, err, "%s", out)
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "attacks,") || strings.Contains(line, "--- ") || strings.Contains(line, "does not succeed") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// hostToKill is a host program that will be killed in the middle of a run.
func hostToKill() {
	s, err := Open(Config{kind: kind(os.Getenv(hostEnv))})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := s.Start(context.Background(), Command{Args: []string{"/bin/sh", "-c", "echo " + runs + "; while :; do :; done"}, Env: []string{"MARK=" + os.Getenv("MARK")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	io.Copy(os.Stdout, p.Stdout)
}

// When the host program is killed, its sandboxes die with it, and its cgroups are swept up by the next one.
func TestHostKilled(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			openTest(t, Config{kind: k})
			mark := fmt.Sprintf("gor1-host-killed-%d-%d", os.Getpid(), groupCount.Add(1))
			c := exec.Command("/proc/self/exe")
			c.Env = []string{attackEnv + "=host", hostEnv + "=" + string(k), "MARK=" + mark, "PATH=" + os.Getenv("PATH")}
			out, err := c.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, c.Start())
			b := make([]byte, 100)
			n, err := out.Read(b)
			require.NoError(t, err)
			require.Equal(t, runs+"\n", string(b[:n]))
			require.NoError(t, c.Process.Kill())
			c.Wait()
			require.Eventually(t, func() bool { return survivor(host{Marker: mark}, Result{}) == "" }, 20*time.Second, 20*time.Millisecond)
			require.Eventually(t, func() bool {
				s, err := Open(Config{kind: k})
				if err != nil {
					return false
				}
				s.Close()
				left := 0
				for _, pattern := range []string{filepath.Join(s.cgroup.pids, "gor1-"), filepath.Join(s.cgroup.memory, "gor1-"), filepath.Join(os.TempDir(), jobPrefix)} {
					names, _ := filepath.Glob(fmt.Sprintf("%s%d-*", pattern, c.Process.Pid))
					left += len(names)
				}
				return left == 0
			}, 20*time.Second, 50*time.Millisecond)
		})
	}
}
