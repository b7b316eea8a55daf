package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Open finds the strongest kind of sandbox that works here, by building one of each in turn. It returns [ErrNoSandbox],
// with what was tried, where none does and cfg.UnsafeExec is not set.
func Open(cfg Config) (*Sandbox, error) {
	kinds := []kind{kindNamespaces, kindBubblewrap, kindLandlock}
	if cfg.kind != "" {
		kinds = []kind{cfg.kind}
	}
	var tried []Layer
	for _, k := range kinds {
		s, found, err := open(cfg, k)
		if err == nil {
			s.layers = append(tried, s.describe(found)...)
			return s, nil
		}
		tried = append(tried, Layer{Name: string(k), Note: strings.TrimPrefix(strings.TrimPrefix(err.Error(), "sandbox: "), string(k)+": ")})
	}
	if cfg.UnsafeExec {
		s := &Sandbox{cfg: cfg, kind: kindUnsafe, launcher: &launcher{socket: -1}}
		s.layers = append(tried, Layer{Name: string(kindUnsafe), Active: true,
			Note: "UNSAFE: jobs run as this user with resource limits only"})
		return s, nil
	}
	return nil, &Refusal{Tried: tried}
}

// open makes a sandbox of one kind and builds it once without a job.
func open(cfg Config, k kind) (*Sandbox, report, error) {
	s := &Sandbox{cfg: cfg, kind: k, launcher: &launcher{socket: -1}}
	var err error
	switch k {
	case kindNamespaces:
		s.nobody = os.Geteuid() == 0
	case kindBubblewrap:
		if s.bwrap, err = exec.LookPath("bwrap"); err != nil {
			return nil, report{}, errors.New("the program bwrap is not in PATH; install bubblewrap")
		}
	case kindLandlock:
		if abi := landlockABI(); abi < 6 {
			return nil, report{}, fmt.Errorf("the kernel has Landlock version %d, it takes 6 (Linux 6.12)", abi)
		}
		s.nobody = os.Geteuid() == 0
		sweep(os.TempDir(), jobPrefix, os.RemoveAll)
	}
	if k != kindBubblewrap && !s.isOff("cgroup") { // bubblewrap starts init before it could be put into a group
		s.cgroup = findCgroups()
	}
	rep, err := s.probe()
	if err != nil && s.nobody { // a root without CAP_SETUID cannot become another user
		s.nobody = false
		rep, err = s.probe()
	}
	if err != nil && k == kindNamespaces && (strings.HasSuffix(err.Error(), unix.ENOSPC.Error()) || strings.HasSuffix(err.Error(), unix.EPERM.Error())) {
		err = fmt.Errorf("user namespaces are not permitted here (see user.max_user_namespaces, kernel.unprivileged_userns_clone, "+
			"kernel.apparmor_restrict_unprivileged_userns, or the container's seccomp profile): %w", err)
	}
	if err != nil {
		s.Close()
	}
	return s, rep, err
}

// Close ends the process the sandbox holds. Runs that have begun go on to their end.
func (s *Sandbox) Close() error {
	s.launcher.mu.Lock()
	defer s.launcher.mu.Unlock()
	return s.launcher.close()
}

func (s *Sandbox) isOff(layer string) bool {
	for _, o := range s.cfg.off {
		if o == layer {
			return true
		}
	}
	return false
}

// probe builds the sandbox and takes it down again.
func (s *Sandbox) probe() (report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sp, err := s.newSpec(Command{Args: []string{"/nothing"}})
	if err != nil {
		return report{}, err
	}
	sp.Probe = true
	p, err := s.startSpec(ctx, sp, nil)
	if err != nil {
		return report{}, err
	}
	defer p.close()
	rep, _, err := p.finish()
	return rep, err
}

// describe lists the layers of a working sandbox.
func (s *Sandbox) describe(found report) []Layer {
	out := []Layer{{Name: string(s.kind), Active: true, Note: map[kind]string{
		kindNamespaces: "own users, mounts, processes, network, IPC and host name; read-only root, /tmp of limited size",
		kindBubblewrap: "namespaces made by " + s.bwrap,
		kindLandlock:   "one process, no sockets, no new files; only the system's programs are readable",
		kindUnsafe:     "UNSAFE: jobs run as this user with resource limits only",
	}[s.kind]}}
	add := func(name string, active bool, yes, no string) {
		note := no
		if active {
			note = yes
		}
		out = append(out, Layer{Name: name, Active: active, Note: note})
	}
	add("landlock", found.Landlock > 0, fmt.Sprintf("version %d: system paths readable, the job's folder only writable", found.Landlock),
		"the kernel has no Landlock")
	add("seccomp", true, "allow-list of system calls", "")
	add("capabilities", true, "none in any set, no_new_privs", "")
	add("nobody", s.nobody, fmt.Sprintf("jobs run as user %d", nobodyID), "jobs run as this user: only root can start them as another")
	add("rlimits", true, "processor time, memory, file size, open files, no core dumps", "")
	add("inodes", s.kind == kindNamespaces, "the number of files is limited", map[kind]string{
		kindBubblewrap: "bubblewrap's tmpfs has no limit on them", kindLandlock: "no file can be made"}[s.kind])
	add("watch", found.Watch, fmt.Sprintf("processor time, memory and threads of the tree every %v", watchEvery),
		"no proc file system of the sandbox can be had here: rlimits bound each process instead")
	add("cgroup pids", s.cgroup.pids != "", "limits processes in "+s.cgroup.pids, s.noGroup())
	add("cgroup memory", s.cgroup.memory != "", "limits memory in "+s.cgroup.memory, s.noGroup())
	return out
}

func (s *Sandbox) noGroup() string {
	if s.kind == kindBubblewrap {
		return "not used with bubblewrap"
	}
	return "no writable controller under " + cgroupRoot
}

// bwrapArgs is the command that runs init under bubblewrap, with the same view of the file system as buildRoot's.
func bwrapArgs(bwrap string, sp *spec) (string, []string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("sandbox: find this program: %w", err)
	}
	args := []string{bwrap, "--unshare-all", "--die-with-parent", "--as-pid-1", "--hostname", "sandbox", "--cap-drop", "ALL",
		"--clearenv", "--proc", "/proc", "--size", fmt.Sprint(sp.Limits.Disk), "--tmpfs", jobDir, "--dev", "/dev"}
	for _, p := range append(append([]string{}, systemPaths...), sp.Mounts...) {
		var st unix.Stat_t
		if unix.Lstat(p, &st) != nil {
			continue
		}
		if to, err := os.Readlink(p); err == nil {
			args = append(args, "--symlink", to, p)
		} else {
			args = append(args, "--ro-bind", p, p)
		}
	}
	return bwrap, append(args, "--ro-bind", self, "/"+initName, "--remount-ro", "/", "--chdir", jobDir, "/"+initName, sp.Nonce), nil
}
