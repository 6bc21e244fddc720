package javafx.event

class ActionEvent {
    static final Object ACTION = 'action'
    void consume() { }
}
