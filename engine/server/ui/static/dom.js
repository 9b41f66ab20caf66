// Builds elements, and changes the document into what a view describes. Every text becomes a text node, never markup.

/**
 * Creates an element. Properties that begin with "on" are event handlers, "key" identifies an element among its siblings,
 * "opaque" keeps update out of its content, and everything else is an attribute; false, null and undefined leave an attribute out.
 * @param {string} tag
 * @param {Object<string, any>?} properties
 * @param {...any} children texts, elements, arrays of them; null, undefined and false are left out
 */
export function el(tag, properties, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === false || value === null || value === undefined) continue
    if (name.startsWith('on') || name === 'key' || name === 'opaque') node[name] = value
    else node.setAttribute(name, value === true ? '' : value)
  }
  node.append(...flat(children))
  return node
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
}

/** Makes the children of parent equal to those given, and keeps elements that are the same, so that focus and selection stay. */
export function update(parent, ...children) {
  const wanted = flat(children).map((child) => (child instanceof Node ? child : document.createTextNode(child)))
  const keys = new Set(wanted.map((node) => node.key).filter((key) => key !== undefined))
  const keyed = new Map()
  for (const child of parent.childNodes) if (child.key !== undefined) keyed.set(child.key, child)
  let at = parent.firstChild
  for (const node of wanted) {
    while (at && at.key !== undefined && !keys.has(at.key)) at = removeAndNext(at)
    const old = node.key === undefined ? at : keyed.get(node.key)
    if (!old || !isSame(old, node)) {
      if (old && old === at && old.key === node.key) {
        at = at.nextSibling
        old.replaceWith(node)
      } else parent.insertBefore(node, at)
      continue
    }
    if (old === at) at = at.nextSibling
    else parent.insertBefore(old, at)
    if (old !== node) become(old, node)
  }
  while (at) at = removeAndNext(at)
}

function removeAndNext(node) {
  const next = node.nextSibling
  node.remove()
  return next
}

const isSame = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.key === b.key && a.type === b.type

const handlers = ['onclick', 'oninput', 'onchange', 'onsubmit', 'onkeydown']

/** Makes the element old equal to wanted. */
export function become(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data
    return
  }
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !(name === 'open' && old.nodeName === 'DETAILS')) old.removeAttribute(name)
  }
  for (const { name, value } of wanted.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  for (const handler of handlers) old[handler] = wanted[handler]
  if (old.opaque) return
  update(old, ...wanted.childNodes)
  if ('value' in wanted && old.value !== wanted.value && document.activeElement !== old) old.value = wanted.value
}

/** Announces a text to screen readers. */
export function announce(text) {
  document.getElementById('announcer').textContent = text
}
