// The view with all changes of a pipeline.
import { el, update } from '../dom.js'
import { ChangeList } from '../changelist.js'
import { filterBar, timeline } from './timeline.js'

const pageSize = 50

export function changes(route, pipeline) {
  let list
  const load = (next) => {
    list = new ChangeList(pipeline, next.query.get('action') ?? '', pageSize)
    list.load()
  }
  load(route)
  return {
    routed: load,
    changed: (name, change) => {
      if (name === pipeline) list.put(change)
    },
    reset: () => list.load(),
    draw(main) {
      update(
        main,
        el('div', { class: 'title' }, el('h2', {}, 'Changes'), filterBar(list, 'changes')),
        timeline(list),
        list.next > 0 &&
          el('p', {}, el('button', { type: 'button', disabled: list.busy, onclick: () => list.more() }, 'Show older')),
      )
    },
  }
}
