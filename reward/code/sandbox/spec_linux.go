package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// initName is argv[0] of the host program when it is started as a sandbox's first process.
const initName = "gor1-sandbox-init"

// The file descriptors of the first process. The job gets 0, 1 and 2 only.
const (
	controlFD = 3 // read end: the spec, then one byte per mark; its end means that the parent is gone
	statusFD  = 4 // write end: statusStarted, then a report
)

// statusStarted is the byte init sends once the job runs. An init that dies before it is the sandbox's failure; one that
// dies after it was killed by what the job did.
const statusStarted = 'S'

// spec is what the parent tells init. Files' data follow it on the pipe, so that JSON need not carry them.
type spec struct {
	Nonce    string
	Kind     kind
	Args     []string
	Env      []string
	Files    []fileHead
	Limits   Limits
	Marks    bool     // Limits.CPU is for each test, and a process may live through several
	Mounts   []string // directories and files to mount read-only (namespaces), or to allow reading (Landlock)
	Dir      string   // the working directory, for kinds without a tmpfs of their own
	Nobody   bool     // the job runs as nobodyID; init stays what it is
	Launcher bool     // this process is no sandbox's first, but starts them
	Inner    bool     // this is the process that becomes the job
	Probe    bool     // build the sandbox, run nothing, and report what holds
	Collect  string
	MaxFile  int64
	Memcg    bool            // a memory cgroup holds: no need to watch memory here
	Off      map[string]bool // layers to leave out, in tests
}

type fileHead struct {
	Name string
	Mode uint32
	Size int
}

// report is what init tells the parent when the job is over. The collected file's bytes follow it.
type report struct {
	Err      string // the sandbox could not be built
	Killed   Status // the limit that init enforced
	Exit     int
	Signal   int
	CPU      time.Duration
	MaxRSS   int64
	FileSize int
	FileErr  string

	// What a probe found.
	Landlock int  // version, 0 without
	Watch    bool // the tree can be watched

	file []byte // the collected file
	lost bool   // there was no report: init was killed
}

// maxFrame bounds the JSON of a spec or a report.
const maxFrame = 16 << 20

// writeFrame writes v as JSON after its length in four bytes.
func writeFrame(w io.Writer, v any, tail ...[]byte) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b = append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
	for _, t := range append([][]byte{b}, tail...) {
		if _, err := w.Write(t); err != nil {
			return err
		}
	}
	return nil
}

// readFrame reads what writeFrame wrote, without the tail.
func readFrame(r io.Reader, v any) error {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return err
	}
	size := binary.LittleEndian.Uint32(n[:])
	if size > maxFrame {
		return fmt.Errorf("sandbox: frame of %d bytes, at most %d", size, maxFrame)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
