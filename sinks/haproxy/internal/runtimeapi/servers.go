package runtimeapi

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Server is the state of a server, as HAProxy reports it.
type Server struct {
	Backend   string
	BackendID int
	Name      string
	ID        int            // its number in the backend
	Addr      netip.AddrPort // invalid if HAProxy knows none
	Weight    int
	Admin     Admin
	Check     bool // health checks are enabled
}

// Admin is the administrative state of a server, as flags.
type Admin int

const (
	// ForcedMaint is set by "state maint" and by disabled in the configuration.
	ForcedMaint Admin = 0x01
	// ForcedDrain is set by "state drain".
	ForcedDrain Admin = 0x08
	// Unresolved is set while the server's host name has no address.
	Unresolved Admin = 0x20
)

// checkEnabled is a flag of the state of a check.
const checkEnabled = 0x4

// ParseServers parses an answer to "show servers state". The first line is the version of the format, which is 1 for HAProxy 1.6
// to 3.0 at least. The second line names the columns.
func ParseServers(answer string) ([]Server, error) {
	version, rest, _ := strings.Cut(answer, "\n")
	heading, rest, _ := strings.Cut(rest, "\n")
	columns := strings.Fields(strings.TrimPrefix(heading, "#"))
	if strings.TrimSpace(version) != "1" || len(columns) == 0 || !strings.HasPrefix(heading, "#") {
		return nil, fmt.Errorf("HAProxy does not list its servers but says %q", clip(answer))
	}
	index := indexOf(columns)
	servers := make([]Server, 0, strings.Count(rest, "\n")+1)
	var fields []string // of one line after the other
	for line := range strings.Lines(rest) {
		fields = slices.AppendSeq(fields[:0], strings.FieldsSeq(line))
		if len(fields) == 0 {
			continue
		}
		if len(fields) != len(columns) {
			return nil, fmt.Errorf("HAProxy lists a server as %q, which has not the columns %q", clip(line), heading)
		}
		r := record{columns: index, fields: fields}
		servers = append(servers, r.server())
		if r.fault != nil {
			return nil, fmt.Errorf("HAProxy lists a server as %q: %w", clip(line), r.fault)
		}
	}
	return servers, nil
}

// A record is one line of a table with the numbers of its columns, and the first fault in it.
type record struct {
	columns map[string]int
	fields  []string
	fault   error
}

func indexOf(columns []string) map[string]int {
	index := make(map[string]int, len(columns))
	for i, column := range columns {
		index[column] = i
	}
	return index
}

func (r *record) text(column string) string {
	if i, has := r.columns[column]; has && i < len(r.fields) {
		return r.fields[i]
	}
	r.fault = fmt.Errorf("there is no column %s", column)
	return ""
}

func (r *record) number(column string) int {
	text := r.text(column)
	n, err := strconv.Atoi(text)
	if err != nil && r.fault == nil {
		r.fault = fmt.Errorf("the column %s is %q", column, text)
	}
	return n
}

func (r *record) server() Server {
	s := Server{
		Backend: r.text("be_name"), BackendID: r.number("be_id"), Name: r.text("srv_name"), ID: r.number("srv_id"),
		Weight: r.number("srv_uweight"), Admin: Admin(r.number("srv_admin_state")),
		Check: r.number("srv_check_state")&checkEnabled != 0,
	}
	port := r.number("srv_port")
	if addr, err := netip.ParseAddr(r.text("srv_addr")); err == nil && port > 0 && port < 1<<16 {
		s.Addr = netip.AddrPortFrom(addr, uint16(port))
	}
	return s
}

// A Load is the current load of a server.
type Load struct {
	Sessions int // current sessions
	MaxConn  int // 0 for no limit
}

// ParseLoads parses an answer to "show stat" for servers. The keys are "backend/server".
func ParseLoads(answer string) (map[string]Load, error) {
	loads := map[string]Load{}
	err := readStatistics(answer, func(r *record) {
		load := Load{Sessions: r.number("scur")}
		if r.text("slim") != "" {
			load.MaxConn = r.number("slim")
		}
		loads[r.text("pxname")+"/"+r.text("svname")] = load
	})
	return loads, err
}

// readStatistics parses an answer to "show stat" and calls use for each line. Versions of HAProxy differ in their columns.
func readStatistics(answer string, use func(r *record)) error {
	if !strings.HasPrefix(answer, "# pxname,") {
		return fmt.Errorf("HAProxy gives no statistics but says %q", clip(answer))
	}
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# ")))
	reader.LazyQuotes, reader.FieldsPerRecord = true, -1
	heading, err := reader.Read()
	if err != nil {
		return fmt.Errorf("HAProxy's statistics cannot be read: %w", err)
	}
	columns := indexOf(heading)
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		r := record{columns: columns, fields: fields, fault: err}
		if err == nil {
			use(&r)
		}
		if r.fault != nil {
			return fmt.Errorf("HAProxy's statistics cannot be read: %w", r.fault)
		}
	}
}

// longestShown bounds what errors quote of an answer, in bytes.
const longestShown = 120

func clip(text string) string {
	if len(text) > longestShown {
		return strings.ToValidUTF8(text[:longestShown], "") + "…"
	}
	return strings.TrimSpace(text)
}
