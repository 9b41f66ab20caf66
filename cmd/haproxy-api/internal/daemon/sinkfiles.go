package main

import (
	"fmt"
	"path/filepath"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// fileKeys are the keys of a sink's block that name a file which one sink alone may have, by the sink's type.
var fileKeys = map[string][]string{
	"haproxy": {"config_file", "pid_file"},
	"file":    {"path"},
}

// sharedFiles returns a fault for each file that two sinks would keep. The daemon finds out when it starts, because each sink
// claims its files; nothing is claimed here, so that the running daemon is not in the way.
func sharedFiles(cfg *config.Config) []error {
	var faults []error
	owners := map[string]string{} // by file
	for _, name := range sortedKeys(cfg.Sinks) {
		sink := cfg.Sinks[name]
		if _, replaced := cfg.Plugins[sink.Type]; replaced {
			continue
		}
		for _, key := range fileKeys[sink.Type] {
			path, _ := sink.Block[key].(string)
			if path == "" {
				continue
			}
			file := oneFile(key, path)
			if owner, taken := owners[file]; taken {
				faults = append(faults, place("sinks", name, fmt.Errorf(
					"%s is %s, which sink %s keeps as well; give one of them another", key, path, owner)))
				continue
			}
			owners[file] = name
		}
	}
	return faults
}

// oneFile is the same for every way to write a path. Of a pid file its extension does not count, since HAProxy's sockets go
// beside it and have the rest of its name.
func oneFile(key, path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return key + path
	}
	dir, name := filepath.Split(absolute)
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	if key == "pid_file" {
		return "pid file " + filepath.Join(dir, name[:len(name)-len(filepath.Ext(name))])
	}
	return filepath.Join(dir, name)
}
