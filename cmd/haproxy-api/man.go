package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

// newMan returns the command that packaging uses to write the manual pages. Package doc of cobra is not used: it reads the texts
// as Markdown, which they are not, and shows the default of a flag in place of its value.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write a manual page for each command",
		Hidden: true,
		Args:   oneArg(false, "name the directory to write the manual pages to"),
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := manDate()
			if err != nil {
				return &usageError{err}
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // not secret
				return fmt.Errorf("cannot create the directory of the manual pages: %w", err)
			}
			return writeManPages(args[0], cmd.Root(), date)
		},
	}
}

// manDate returns the date of the manual pages: that of SOURCE_DATE_EPOCH, so that they are reproducible, or else today.
func manDate() (time.Time, error) {
	const variable = "SOURCE_DATE_EPOCH"
	epoch := os.Getenv(variable)
	if epoch == "" {
		return time.Now().UTC(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s=%q is not a number of seconds since 1970", variable, epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// writeManPages writes the page of cmd and of each of its subcommands that users call.
func writeManPages(directory string, cmd *cobra.Command, date time.Time) error {
	path := filepath.Join(directory, manName(cmd)+".1")
	if err := os.WriteFile(path, manPage(cmd, date), 0o644); err != nil { //nolint:gosec // not secret
		return fmt.Errorf("cannot write a manual page: %w", err)
	}
	for _, sub := range cmd.Commands() {
		if !hasManPage(sub) {
			continue
		}
		if err := writeManPages(directory, sub, date); err != nil {
			return err
		}
	}
	return nil
}

func hasManPage(cmd *cobra.Command) bool { return cmd.IsAvailableCommand() && cmd.Name() != "help" }

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func manPage(cmd *cobra.Command, date time.Time) []byte {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	var m manual
	fmt.Fprintf(&m.text, ".TH %q 1 %q %q %q\n", strings.ToUpper(manName(cmd)), date.Format(time.DateOnly),
		"haproxy-api "+version(), "haproxy-api")
	m.section("NAME")
	m.fill(manName(cmd) + " - " + strings.ToLower(cmd.Short[:1]) + cmd.Short[1:])
	m.section("SYNOPSIS")
	if isGroup(cmd) {
		m.fill(bold(cmd.CommandPath()) + " COMMAND [FLAGS]")
	} else {
		arguments := strings.TrimPrefix(useLine(cmd), cmd.CommandPath())
		m.fill(bold(cmd.CommandPath()) + arguments)
	}
	m.section("DESCRIPTION")
	m.paragraphs(description(cmd))
	if cmd.HasAvailableSubCommands() {
		m.section("COMMANDS")
		for _, sub := range cmd.Commands() {
			if hasManPage(sub) {
				m.entry(bold(manName(sub))+"(1)", sub.Short)
			}
		}
	}
	m.flags("OPTIONS", cmd.LocalFlags())
	m.flags("GLOBAL OPTIONS", cmd.InheritedFlags())
	m.section("EXIT STATUS")
	m.entry(bold("0"), "The command did what it was asked for.")
	m.entry(bold("1"), "The command failed, or a check found faults.")
	m.entry(bold("2"), "The command line or the configuration is not valid.")
	m.section("ENVIRONMENT")
	for _, row := range manEnvironment {
		m.entry(bold(row[0]), row[1])
	}
	m.section("FILES")
	m.entry(bold(config.DefaultFile), "The configuration, in the working directory, unless --config-file or "+config.EnvFile+
		" names another file.")
	m.entry(bold("/etc/haproxy-api/haproxy-api.toml"), "The configuration of the service that the packages install.")
	if cmd.HasExample() {
		m.section("EXAMPLES")
		m.verbatim(cmd.Example)
	}
	m.section("SEE ALSO")
	m.fill(manReferences(cmd))
	return m.text.Bytes()
}

// manEnvironment are the environment variables of the commands.
var manEnvironment = [][2]string{
	{config.EnvFile, "The configuration file, unless --config-file names one."},
	{config.EnvAddress, "The address of the daemon that commands query, unless --address gives it."},
	{config.EnvClientCert, "The file of the client certificate to present to the daemon, unless --client-cert names one."},
	{config.EnvClientKey, "The file of its key, unless --client-key names one."},
	{"HAPROXY_API_TABLE__KEY", "A key of the configuration, such as HAPROXY_API_HAPROXY__TEMPLATE for template of [haproxy]. " +
		"It takes precedence over the configuration file."},
	{"NO_COLOR", "Any value turns colors off."},
}

// manReferences returns the pages of the command above and those beside cmd.
func manReferences(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return bold("haproxy") + "(1)"
	}
	references := []string{bold(manName(cmd.Parent())) + "(1)"}
	for _, other := range cmd.Parent().Commands() {
		if other != cmd && hasManPage(other) {
			references = append(references, bold(manName(other))+"(1)")
		}
	}
	return strings.Join(references, ", ")
}

// A manual is a manual page in the macros of man(7).
type manual struct{ text bytes.Buffer }

func (m *manual) section(title string) { m.text.WriteString(".SH " + title + "\n") }

// fill writes text that is filled.
func (m *manual) fill(text string) { m.text.WriteString(filled(text)) }

// entry writes a term and its description.
func (m *manual) entry(term, text string) {
	m.text.WriteString(".TP\n")
	m.fill(term)
	m.fill(text)
}

func (m *manual) flags(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	m.section(title)
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		name := bold("--" + flag.Name)
		if flag.Shorthand != "" {
			name = bold("-"+flag.Shorthand) + ", " + name
		}
		value, usage := flagValue(flag)
		m.entry(strings.TrimSpace(name+" "+value), usage)
	})
}

// paragraphs writes text whose lines are filled, except for the lines that are indented.
func (m *manual) paragraphs(text string) {
	for i, paragraph := range paragraphs(text) {
		if i > 0 {
			m.text.WriteString(".PP\n")
		}
		if isVerbatim(paragraph) {
			m.verbatim(paragraph)
			continue
		}
		m.fill(paragraph)
	}
}

// verbatim writes lines that are not filled.
func (m *manual) verbatim(text string) {
	m.text.WriteString(".nf\n.RS 2\n")
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		m.text.WriteString(roff(strings.TrimPrefix(line, "  ")) + "\n")
	}
	m.text.WriteString(".RE\n.fi\n")
}

// Marks for bold text, which are not in the texts of the commands.
const boldOn, boldOff = "\x01", "\x02"

func bold(text string) string { return boldOn + text + boldOff }

var roffEscaper = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`,
	terminal.NoBreak, `\ `, boldOn, `\fB`, boldOff, `\fR`)

// roff returns text for troff.
func roff(text string) string { return roffEscaper.Replace(text) }

// filled returns text that troff fills, in lines of the usual length of a source.
func filled(text string) string {
	const width = 78
	var out strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		word = roff(word)
		if column > 0 && column+1+len(word) > width {
			out.WriteByte('\n')
			column = 0
		}
		switch {
		case column > 0:
			out.WriteByte(' ')
		case strings.HasPrefix(word, "."):
			out.WriteString(`\&`) // else a request
		}
		out.WriteString(word)
		column += 1 + len(word)
	}
	return out.String() + "\n"
}
