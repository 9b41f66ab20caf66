package daemon

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/engine/config"
)

// ComponentPaths are the keys of the built-in sources and sinks that are paths, for [config.Options].
var ComponentPaths = map[config.ComponentKey]config.PathUse{
	{Table: "sources", Type: typeFile, Key: "path"}:         config.ReadsFile,
	{Table: "sinks", Type: typeFile, Key: "path"}:           config.WritesFile,
	{Table: "sinks", Type: typeHAProxy, Key: "config_file"}: config.WritesFile,
	{Table: "sinks", Type: typeHAProxy, Key: "pid_file"}:    config.WritesFile,
	{Table: "sinks", Type: typeHAProxy, Key: "binary"}:      config.ReadsProgram,
}

// fileKeys are the keys of a sink's block that name a file which only one sink may write, by the type of the sink.
var fileKeys = map[string][]string{
	typeHAProxy: {"config_file", "pid_file"},
	typeFile:    {"path"},
}

// A configuredFile is a file that a key of a sink's block names.
type configuredFile struct{ key, path string }

// configuredFiles returns the files that a sink's block names. It returns none for a type that a configured plugin provides.
func configuredFiles(cfg *config.Config, sink config.Component) []configuredFile {
	if _, plugin := cfg.Plugins[sink.Type]; plugin {
		return nil
	}
	var files []configuredFile
	for _, key := range fileKeys[sink.Type] {
		if path, _ := sink.Block[key].(string); path != "" {
			files = append(files, configuredFile{key, path})
		}
	}
	return files
}

// checkSharedFiles returns an error for each file that two sinks would write. The daemon detects this when the sinks claim their
// files; a check claims nothing, because the running daemon has claimed them.
func checkSharedFiles(cfg *config.Config) []error {
	var faults []error
	owners := map[string]string{} // by identity of the file
	for _, name := range sortedKeys(cfg.Sinks) {
		for _, f := range configuredFiles(cfg, cfg.Sinks[name]) {
			id := f.identity()
			if owner, taken := owners[id]; taken {
				faults = append(faults, withTable("sinks", name, fmt.Errorf(
					"%s is %s, which sink %s also writes; configure another file for one of them", f.key, f.path, owner)))
				continue
			}
			owners[id] = name
		}
	}
	return faults
}

// identity returns a text that is the same for all spellings of the path. The extension of a pid file does not count, because
// HAProxy's sockets beside it have the rest of its name.
func (f configuredFile) identity() string {
	path, err := filepath.Abs(f.path)
	if err != nil {
		return f.key + f.path
	}
	path = resolveDirectory(path)
	if f.key == "pid_file" {
		return "pid file " + strings.TrimSuffix(path, filepath.Ext(path))
	}
	return path
}

// resolveDirectory returns the path with the symbolic links in its directory resolved, as far as the directory exists.
func resolveDirectory(path string) string {
	dir, name := filepath.Split(path)
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	return filepath.Join(dir, name)
}

// sinkFiles returns the files that the sink of the pipeline writes, as far as they are known. If a pipeline watched them, its
// sink would apply its own changes again.
func sinkFiles(cfg *config.Config, p config.Pipeline) []string {
	var files []string
	for _, f := range configuredFiles(cfg, cfg.Sinks[p.Sink]) {
		path, _ := filepath.Abs(f.path)
		path = resolveDirectory(path)
		if f.key == "pid_file" { // HAProxy's base file and its output are beside it
			stem := strings.TrimSuffix(path, filepath.Ext(path))
			files = append(files, path, stem+".base.cfg", stem+".stderr.log")
			continue
		}
		files = append(files, path, path+".applied")
		for _, companion := range sortedKeys(p.Files) {
			files = append(files, filepath.Join(filepath.Dir(path), companion))
		}
	}
	return files
}

// containsPath reports whether files contains the path or the file that it links to.
func containsPath(files []string, path string) bool {
	path, _ = filepath.Abs(path)
	resolved, err := filepath.EvalSymlinks(path)
	return slices.Contains(files, path) || err == nil && slices.Contains(files, resolved)
}
