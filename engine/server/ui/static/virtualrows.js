// Rows of a long table, of which only those on the screen are in the document.
import { become, el, update } from './dom.js'
import { draw } from './store.js'

const overscan = 8 // rows above and below the screen

/** All rows have the height that the style sheet gives as --row. */
export class VirtualRows {
  #drawn = new Map() // rows by index, each with the item that it shows
  #row

  /** row returns the tr of an item, which is undefined while it is fetched, and of its index. */
  constructor(row) {
    this.#row = row
    this.range = [0, 0] // the first and the last index that are in the document
    addEventListener('scroll', draw, { passive: true })
    addEventListener('resize', draw)
  }

  close() {
    removeEventListener('scroll', draw)
    removeEventListener('resize', draw)
  }

  /** Has all rows described again, although their items are the same. */
  invalidate() {
    for (const row of this.#drawn.values()) row.item = null
  }

  /** Puts the rows on the screen into the tbody, which is opaque to update. at returns the item at an index. */
  draw(body, total, at) {
    const height = parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row'))
    this.range = visible(body, total, height)
    const [from, to] = this.range
    for (const index of this.#drawn.keys()) if (index < from || index > to) this.#drawn.delete(index)
    const shown = []
    for (let index = from; total > 0 && index <= to; index++) shown.push(this.#draw(index, at(index)))
    const [above, below] = ['above', 'below'].map((key) => el('tr', { class: 'rest', key, 'aria-hidden': 'true' }))
    update(body, above, shown, below)
    body.firstChild.style.height = `${from * height}px`
    body.lastChild.style.height = `${Math.max(0, total - 1 - to) * height}px`
  }

  #draw(index, item) {
    const old = this.#drawn.get(index)
    if (!old) {
      const node = this.#row(item, index)
      node.key = index
      this.#drawn.set(index, { item, node })
      return node
    }
    if (old.item !== item) {
      old.item = item
      become(old.node, this.#row(item, index))
    }
    return old.node
  }
}

/** Returns the first and the last index of the rows to show. */
function visible(body, total, height) {
  const above = -body.getBoundingClientRect().top
  const last = Math.max(0, total - 1)
  const within = (index) => Math.min(Math.max(0, index), last)
  return [within(Math.floor(above / height) - overscan), within(Math.ceil((above + innerHeight) / height) + overscan)]
}
