;;; drive.el --- Drive a real Emacs with eglot: see, hover, choose a fix, save  -*- lexical-binding: t -*-

;; What it is told comes in environment variables (GT_SERVER, a JSON list; GT_ROOT; GT_FILE; GT_CODE;
;; GT_ACTION, words in the title of the fix), what it saw goes as JSON into the file GT_REPORT.

(require 'cl-lib)
(require 'json)
(require 'package)
(package-initialize)
(require 'eglot)
(require 'flymake)
(require 'python)

(defvar gt-report nil)
(defvar gt-wait 60)

(defun gt-told (name) (getenv (concat "GT_" name)))

(defun gt-saw (name value) (push (cons name value) gt-report))

(defun gt-await (what predicate)
  (let ((end (+ (float-time) gt-wait)))
    (while (not (funcall predicate))
      (when (> (float-time) end) (error "did not come: %s" what))
      (accept-process-output nil 0.02))))

(defun gt-diagnostics ()
  (cl-remove-if-not
   (lambda (each) (string-match-p (regexp-quote (gt-told "CODE")) (flymake-diagnostic-text each)))
   (flymake-diagnostics)))

(defun gt-start ()
  (find-file (gt-told "FILE"))
  (python-mode)
  (let ((command (append (json-parse-string (gt-told "SERVER")) nil)))
    (eglot '(python-mode) (cons 'transient (gt-told "ROOT")) 'eglot-lsp-server command "python")))

(defun gt-see ()
  (gt-await "the diagnostic" #'gt-diagnostics)
  (let ((found (car (gt-diagnostics))))
    (goto-char (flymake-diagnostic-beg found))
    (gt-saw "message" (flymake-diagnostic-text found))
    (gt-saw "line_text" (buffer-substring-no-properties (line-beginning-position)
                                                        (line-end-position)))))

(defun gt-hover ()
  (let ((shown nil))
    ;; Batch Emacs shows no window; what eldoc would be given is the hover.
    (set-window-buffer (selected-window) (current-buffer))
    (eglot-hover-eldoc-function (lambda (text &rest _) (setq shown text)))
    (gt-await "the hover" (lambda () shown))
    (gt-saw "hover" (substring-no-properties shown))))

(defun gt-fix ()
  (let ((last-nonmenu-event ?x))
    (cl-letf (((symbol-function 'completing-read)
               (lambda (_prompt items &rest _)
                 (gt-saw "titles" (vconcat (mapcar #'car items)))
                 (or (car (cl-find-if (lambda (item)
                                        (string-match-p (regexp-quote (gt-told "ACTION"))
                                                        (car item)))
                                      items))
                     (error "no action is titled %s" (gt-told "ACTION"))))))
      (eglot-code-actions (point) nil nil t)))
  (save-buffer)
  (gt-await "the end of the diagnostic" (lambda () (not (gt-diagnostics))))
  (gt-saw "gone" t))

(let ((failed nil))
  (condition-case problem
      (let ((eglot-confirm-server-initiated-edits nil)
            (make-backup-files nil))
        (gt-start)
        (gt-see)
        (gt-hover)
        (gt-fix)
        (eglot-shutdown (eglot-current-server)))
    (error (setq failed t) (gt-saw "problem" (format "%S" problem))))
  (gt-saw "popups" (with-current-buffer (messages-buffer)
                     (vconcat (cl-remove-if-not (lambda (line) (string-match-p "\\[eglot\\].*rror" line))
                                                (split-string (buffer-string) "\n")))))
  (with-temp-file (gt-told "REPORT") (insert (json-encode gt-report)))
  (kill-emacs (if failed 1 0)))
