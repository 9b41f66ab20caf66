// A dialog with everything that is known of one instance.
import { el, update } from '../dom.js'
import { ago, duration } from '../time.js'

const columns = ['Backend', 'Server', 'Status', 'For', 'Check', 'Sessions', 'Queue', 'Weight']

export function showInstance(instance) {
  const dialog = document.getElementById('dialog')
  const why = (text) => (typeof text === 'string' && text ? `: ${text}` : '')
  const facts = [
    ['Service', instance.service],
    ['Host', instance.hostname || '–'],
    ['Address', (instance.addresses ?? [instance.address]).filter(Boolean).join(', ') || '–'],
    ['Status', instance.status.toLowerCase(), ' for ', ago(instance.since, { bare: true })],
    instance.excluded && ['Excluded', `The sink rejects its lines${why(instance.excluded)}`],
    instance.quarantined && ['Quarantined', `A value is unsafe${why(instance.quarantined)}`],
  ]
  update(
    dialog,
    el('h2', { id: 'dialog-title' }, instance.id || 'Instance'),
    el(
      'dl',
      { class: 'facts' },
      facts.filter(Boolean).map(([term, ...text]) => [el('dt', {}, term), el('dd', {}, text)]),
    ),
    instance.servers?.length > 0
      ? el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Servers' }, table(instance.servers))
      : el('p', { class: 'muted' }, 'HAProxy has no server for it.'),
    el('div', { class: 'buttons' }, el('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Close')),
  )
  dialog.showModal()
}

function table(servers) {
  return el(
    'table',
    {},
    el(
      'thead',
      {},
      el(
        'tr',
        {},
        columns.map((title) => el('th', { scope: 'col' }, title)),
      ),
    ),
    el(
      'tbody',
      {},
      servers.map((s) =>
        el(
          'tr',
          {},
          [s.backend, s.name, s.status, duration(s.in_status_seconds ?? 0), s.check ?? '', s.sessions, s.queue, s.weight].map(
            (value) => el('td', {}, String(value ?? '')),
          ),
        ),
      ),
    ),
  )
}
