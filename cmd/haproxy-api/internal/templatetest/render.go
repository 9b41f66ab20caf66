// Package templatetest renders template sets for the people who write them: it runs golden cases, compares renderings with what
// is live, and shows what each edit changes. It knows no pipeline and no sink.
package templatetest

import (
	"context"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// Render loads the template set and renders snap as if the time were at. It returns what [templates.Template.Render] returns.
func Render(ctx context.Context, set templates.Config, snap sdk.Snapshot, at time.Time) (
	files []sdk.File, notes []string, err error,
) {
	set.Now = func() time.Time { return at }
	template, err := templates.New(set).Load()
	if err != nil {
		return nil, nil, err
	}
	return template.Render(ctx, snap)
}
