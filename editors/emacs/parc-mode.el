;;; parc-mode.el --- Parallelism plans of Mixture-of-Experts training -*- lexical-binding: t -*-

;; Version: 0.1.0
;; Package-Requires: ((emacs "29.1"))

;;; Commentary:
;; Colours and indentation for plan files, and parc's language server by eglot:
;;   (load "parc-mode")
;;   (add-hook 'parc-mode-hook #'eglot-ensure)
;; `parc-picture' shows the plan at point in a browser; `parc-build' builds one, after asking.

;;; Code:

(defconst parc-mode-keywords
  `((,(rx bol (* space) (group (or "import" "let")) symbol-end) 1 font-lock-keyword-face)
    (,(rx symbol-start (group (or "for" "on")) (+ space) (group (any alpha "_") (* (any word "_"))))
     (1 font-lock-keyword-face)
     (2 font-lock-type-face))
    (,(rx symbol-start (group "over") (* space) "[") 1 font-lock-keyword-face)
    (,(rx (or bol ",") (* space) (group (any alpha "_") (* (any word "_" "."))) (* space) (or "=" "<" ">" "!="))
     1 font-lock-variable-name-face)
    (,(rx bol (* space) (group (any alpha "_") (* (any word "_")))
          (? (+ space) (group (any alpha "_") (* (any word "_")))) (* space) (or "{" "for" "on" "over"))
     (1 font-lock-keyword-face)
     (2 font-lock-type-face nil t))
    (,(rx symbol-start (or "true" "false") symbol-end) . font-lock-constant-face)))

(defvar parc-mode-syntax-table
  (let ((table (make-syntax-table)))
    (modify-syntax-entry ?# "<" table)
    (modify-syntax-entry ?\n ">" table)
    (modify-syntax-entry ?_ "_" table)
    table)
  "Comments begin with `#' and end with their line.")

(defun parc-mode-indent-line ()
  "Indent by two columns for every bracket that is open."
  (let ((depth (car (save-excursion (syntax-ppss (line-beginning-position))))))
    (save-excursion
      (back-to-indentation)
      (when (looking-at-p "[])}]")
        (setq depth (max 0 (1- depth))))
      (indent-line-to (* 2 depth)))
    (when (< (current-column) (current-indentation))
      (back-to-indentation))))

;;;###autoload
(define-derived-mode parc-mode prog-mode "parc"
  "Major mode for parallelism plans."
  (setq-local comment-start "# ")
  (setq-local comment-start-skip "#+ *")
  (setq-local indent-tabs-mode nil)
  (setq-local indent-line-function #'parc-mode-indent-line)
  (setq-local font-lock-defaults '(parc-mode-keywords)))

;;;###autoload
(add-to-list 'auto-mode-alist '("\\.parc\\'" . parc-mode))

(with-eval-after-load 'eglot
  (add-to-list 'eglot-server-programs '(parc-mode . ("parc" "lsp"))))

(declare-function eglot-current-server "eglot")
(declare-function eglot--TextDocumentIdentifier "eglot")
(declare-function jsonrpc-request "jsonrpc")

(defun parc-picture ()
  "Show the picture of the plan at point in a browser."
  (interactive)
  (let* ((place (list :line (1- (line-number-at-pos nil t)) :character 0))
         (wanted (list :textDocument (eglot--TextDocumentIdentifier) :position place))
         (page (jsonrpc-request (eglot-current-server) :parc/picture wanted))
         (file (make-temp-file "parc" nil ".html")))
    (when (plist-get page :error)
      (user-error "parc: %s" (plist-get page :error)))
    (with-temp-file file
      (insert (plist-get page :html)))
    (browse-url-of-file file)))

(defun parc-build (plan)
  "Build PLAN of this file beside it, in a compilation buffer.  This runs your model."
  (interactive "sPlan to build: ")
  (when (yes-or-no-p (format "Building runs your model.  Build `%s'? " plan))
    (save-buffer)
    (let* ((file (buffer-file-name))
           (out (concat (file-name-sans-extension file) "." plan)))
      (compile (mapconcat #'shell-quote-argument (list "parc" "build" file plan "-o" out) " ")))))

(provide 'parc-mode)
;;; parc-mode.el ends here
