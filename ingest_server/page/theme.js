/* Before anything is painted: the light or dark that was chosen here, else that of the system. */
;(() => {
  try {
    const chosen = localStorage.getItem('theme')
    if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen
  } catch {
    /* a browser that stores nothing: the system's choice */
  }
})()
