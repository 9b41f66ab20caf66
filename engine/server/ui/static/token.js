// The token that requests need that change something. It is kept for this tab only.
import { el, update } from './dom.js'

const storageKey = 'haproxy-api-token'

export const token = () => sessionStorage.getItem(storageKey)
export const forgetToken = () => sessionStorage.removeItem(storageKey)

/**
 * Asks for the token in a dialog.
 * @param {string} reason why it is asked again
 * @returns {Promise<boolean>} whether a token was entered
 */
export function askForToken(reason) {
  const dialog = document.getElementById('dialog')
  const input = el('input', {
    id: 'token',
    type: 'password',
    autocomplete: 'off',
    required: true,
    autofocus: true,
    'aria-describedby': 'token-hint',
  })
  update(
    dialog,
    el(
      'form',
      { method: 'dialog', key: 'token' },
      el('h2', { id: 'dialog-title' }, 'Token needed'),
      reason && el('p', { class: 'failure', role: 'alert' }, reason),
      el('label', { for: 'token' }, 'Token'),
      input,
      el(
        'p',
        { id: 'token-hint', class: 'muted' },
        'The value of haproxy_api.update_token. This tab keeps it until it is closed.',
      ),
      el(
        'div',
        { class: 'buttons' },
        el('button', { type: 'submit', class: 'primary', value: 'send' }, 'Send'),
        el('button', { type: 'button', onclick: () => dialog.close('') }, 'Cancel'),
      ),
    ),
  )
  dialog.returnValue = ''
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener(
      'close',
      () => {
        const entered = dialog.returnValue === 'send' ? dialog.querySelector('input').value : ''
        dialog.replaceChildren() // the token does not stay in the document
        if (entered) sessionStorage.setItem(storageKey, entered)
        resolve(entered !== '')
      },
      { once: true },
    )
  })
}
