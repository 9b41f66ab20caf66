// The form that selects services or instances. The address of the page has what it selects.
import { el } from '../dom.js'
import { link, replaceRoute } from '../router.js'
import { statuses } from '../words.js'

const typingPause = 150 // milliseconds

/**
 * Returns a function of the present query that returns the form. With the numbers of instances by status, the form selects by
 * status too.
 */
export function search(pipeline, view) {
  let typing
  let query
  const set = (change) => replaceRoute(link(pipeline, view, { ...query, ...change }))
  return (present, counts) => {
    query = present
    return el(
      'form',
      { class: 'search', role: 'search', key: 'search', onsubmit: (event) => event.preventDefault() },
      el(
        'label',
        {},
        el('span', {}, 'Search '),
        el('input', {
          type: 'search',
          value: query.q,
          placeholder: 'service, host, instance, address',
          autocomplete: 'off',
          spellcheck: 'false',
          oninput: ({ target }) => {
            clearTimeout(typing)
            typing = setTimeout(() => set({ q: target.value }), typingPause)
          },
        }),
      ),
      counts &&
        el(
          'label',
          {},
          el('span', {}, 'Status '),
          el(
            'select',
            { onchange: ({ target }) => set({ status: target.value }) },
            ['', ...Object.keys(statuses)].map((status) =>
              el('option', { value: status, selected: status === query.status }, option(status, counts)),
            ),
          ),
        ),
      query.service && el('button', { type: 'button', onclick: () => set({ service: '' }) }, `Only ${query.service} ×`),
    )
  }
}

const option = (status, counts) => (!status ? 'any' : `${status} (${(counts[status] ?? 0).toLocaleString('en')})`)
