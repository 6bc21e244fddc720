package javafx.scene.control

enum ButtonType { OK, CANCEL, YES, NO }
