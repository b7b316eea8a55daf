package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// jobDir is the job's working directory and only writable place, in kinds with a root of their own.
const jobDir = "/tmp"

// systemPaths are what programs need to start. Links are made anew, what is missing is passed over.
var systemPaths = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache",
	"/etc/alternatives"}

// devices are the harmless ones.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// buildRoot gives the calling process, which must be the first of its mount namespace, a root of its own: an empty tmpfs
// with the system's directories read-only, five devices, and a tmpfs of limited size and inodes at /tmp.
func buildRoot(sp *spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if sp.Off["mount"] { // the test of what this layer holds back: the old root stays in sight
		if err := buildTmp(sp, "/mnt"); err != nil {
			return err
		}
		return os.Chdir("/mnt")
	}
	// The pieces are taken before the new root covers anything.
	pieces, err := takePieces(append(append([]string{}, systemPaths...), sp.Mounts...))
	if err != nil {
		return err
	}
	const base = "/tmp" // any directory will do: it is covered in this namespace only
	if err := unix.Mount("tmpfs", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=256k,nr_inodes=512,mode=0755"); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	if err := os.Mkdir(base+jobDir, 0o755); err != nil {
		return err
	}
	if err := buildTmp(sp, base+jobDir); err != nil {
		return err
	}
	for _, p := range pieces { // some may lie below /tmp
		if err := p.put(base); err != nil {
			return err
		}
	}
	if err := os.Mkdir(base+"/dev", 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	if err := os.Symlink(jobDir, base+"/dev/shm"); err != nil {
		return err
	}
	if err := os.Chdir(base); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	if sp.Off["readonly"] {
		return os.Chdir(jobDir)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return os.Chdir(jobDir)
}

// buildTmp mounts the job's own files, limited, on dir.
func buildTmp(sp *spec, dir string) error {
	opts := fmt.Sprintf("size=%d,nr_inodes=%d,mode=0777", sp.Limits.Disk, sp.Limits.Inodes)
	if sp.Off["disk"] {
		opts = "mode=0777"
	}
	if sp.Nobody {
		opts += fmt.Sprintf(",uid=%d,gid=%d", nobodyID, nobodyID)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		return fmt.Errorf("mount /tmp: %w", err)
	}
	return nil
}

// piece is a part of the old root: a link, or a detached mount.
type piece struct {
	path string
	link string
	dir  bool
	fd   int
}

func takePieces(paths []string) ([]piece, error) {
	var out []piece
	for _, p := range append(paths, devices...) {
		fi, err := os.Lstat(p)
		if err != nil {
			continue
		}
		if fi.Mode()&os.ModeSymlink != 0 {
			to, err := os.Readlink(p)
			if err != nil {
				return nil, err
			}
			out = append(out, piece{path: p, link: to, fd: -1})
			continue
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, p, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return nil, fmt.Errorf("open_tree %s: %w", p, err)
		}
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		if strings.HasPrefix(p, "/dev/") {
			attr.Attr_set = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return nil, fmt.Errorf("mount_setattr %s: %w", p, err)
		}
		out = append(out, piece{path: p, dir: fi.IsDir(), fd: fd})
	}
	return out, nil
}

// put attaches the piece under base at its old path.
func (p piece) put(base string) error {
	at := filepath.Join(base, p.path)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if p.fd < 0 {
		return os.Symlink(p.link, at)
	}
	defer unix.Close(p.fd)
	if p.dir {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
	} else if err := os.WriteFile(at, nil, 0o444); err != nil {
		return err
	}
	if err := unix.MoveMount(p.fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount %s: %w", p.path, err)
	}
	return nil
}

// privateProc opens a proc file system of the own pid namespace without mounting it anywhere the job could see.
func privateProc() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen proc: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("create proc: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("fsmount proc: %w", err)
	}
	return fd, nil
}
